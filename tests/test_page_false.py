"""The page on false certificates: every falsehood and state, nonsense in the address, no runs, its code."""

import pytest
from shipped import CHECKPOINTS

from lipviz import falsehoods_words, ui, ui_false
from lipviz.digits import rounded_down
from pages import charts, opened, tables

NONSENSE = ("", "EVIL", "-1", "1e99", "nan", "<script>alert(1)</script>", "../../etc/passwd", "😀" * 50)
KEYS = ("fc_kind", "fc_constant", "fc_logits", "fc_steps", "fc_std", "fc_angle", "fc_offset", "fc_digit", "fc_photo")
KEYS += ("fc_run_plain_False", "fc_run_plain_True", "fc_run_sll_False", "depth", "hide", "task", "v")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """No runs at all."""
    monkeypatch.setattr(ui, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.setenv("LIPVIZ_RUNS", str(tmp_path / "runs"))


def said(at):
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(element.value for kind in kinds for element in kind).replace("\\", "")


def badge(at):
    """Which of the states the page shows."""
    return [name for name, (words, _, _) in falsehoods_words.STATES.items() if words in said(at)]


def numbers(at):
    return {metric.label: metric.value for metric in at.metric}


@pytest.mark.parametrize("kind", falsehoods_words.NAMES)
def test_every_falsehood_is_broken_as_it_opens(kind):
    at = opened("false", fc_kind=kind)
    assert not at.error and badge(at) == ["broken"]
    found = numbers(at)
    assert float(found["certified radius"]) < float(found["claimed radius"])
    assert float(found["nearest break found"]) < float(found["claimed radius"]) and float(found["claim / break"]) > 1
    assert len(charts(at)) == 1 and falsehoods_words.KINDS[kind].repair in said(at)
    assert "inside the claimed" in at.info[0].value
    pictures = [block.proto.body for block in at.get("html") if "<figure" in block.proto.body]
    assert len(pictures) == 1 and pictures[0].count("<img") == 3
    assert list(tables(at)[0].iloc[:, 0]) == ["claimed", "certified", "nearest other answer found"]


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("Assumed constant", "fc_constant", "10000"),
        ("Assumed constant", "fc_logits", "0.01"),
        ("Power iteration", "fc_steps", "60"),
        ("Forgotten std", "fc_std", "1.0"),
        ("Unit rows", "fc_angle", "90"),
    ],
)
def test_every_falsehood_can_be_dragged_until_it_is_no_longer_broken(kind, key, value):
    at = opened("false", fc_kind=kind, **{key: value})
    assert not at.error and badge(at) == (["true"] if key != "fc_logits" else ["open"])
    assert "nan" not in said(at).lower().split()


def test_float32_without_a_large_number_is_false_by_a_hair():
    at = opened("false", fc_kind="float32", fc_offset="0")
    assert (not at.error and "% too far" in at.info[0].value) or badge(at) == ["broken"]


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_in_the_address(value):
    for kind in (value, *falsehoods_words.NAMES[1:4:2]):
        at = opened("false", **{**dict.fromkeys(KEYS, value), "fc_kind": kind})
        assert not at.error and badge(at) and at.metric


def test_every_control_of_the_made_up_networks():
    for kind, key, values in (
        ("Power iteration", "fc_steps", (0, 5, 60)),
        ("Unit rows", "fc_angle", (30, 95, 180)),
        ("float32", "fc_offset", (0, 1, 24)),
    ):
        at = opened("false", fc_kind=kind)
        for value in values:
            for digit in ui_false.DIGITS:
                at.session_state[key], at.session_state["fc_digit"] = value, digit
                at.run()
                assert not at.exception and not at.error and badge(at) and "bug" not in badge(at)


def test_chips():
    states = []
    for i in range(3):
        at = opened("false")
        at.button(f"fc_try{i}").click().run()
        assert not at.exception and not at.error
        states += badge(at)
    assert states == ["broken", "true", "true"]


@pytest.mark.parametrize("kind", falsehoods_words.NAMES)
def test_without_runs_a_network_is_made_up(empty, kind):
    at = opened("false", fc_kind=kind)
    assert not at.error and badge(at) == ["broken"] and "made up" in said(at)


def test_without_samples_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr("lipviz.samples.names", list)
    at = opened("false", fc_kind="Unit rows")
    assert len(at.error) == 1 and "sample picture" in at.error[0].value and at.button("fc_try0")


def test_broken_weights_give_a_sentence(tmp_path, monkeypatch, tiny_run):
    import json
    import shutil

    monkeypatch.setattr(ui, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.setenv("LIPVIZ_RUNS", str(tmp_path / "runs"))
    shutil.copytree(tiny_run.folder, tmp_path / "runs" / "digits-plain")
    path = tmp_path / "runs" / "digits-plain" / "run.json"
    config = json.loads(path.read_text())
    config["spec"]["layer"] = "plain"
    path.write_text(json.dumps(config))
    (tmp_path / "runs" / "digits-plain" / "weights.safetensors").write_bytes(b"x")
    at = opened("false")
    assert len(at.error) == 1 and "weights" in at.error[0].value and str(tmp_path) not in at.error[0].value


@pytest.mark.parametrize("runs", [True, False], ids=["shipped", "none"])
@pytest.mark.parametrize("kind", falsehoods_words.NAMES)
def test_the_code_makes_the_same_case(kind, runs, monkeypatch, tmp_path, capsys, request):
    if not runs:
        request.getfixturevalue("empty")
    at = opened("false", fc_kind=kind)
    [code] = [block.value for block in at.code if "falsehoods" in block.value]
    (tmp_path / "checkpoints").symlink_to(CHECKPOINTS)
    monkeypatch.chdir(tmp_path)
    space = {}
    exec(compile(code, "code", "exec"), space)
    case, shown = space["case"], numbers(at)
    assert case.state == "broken" and "broken" in capsys.readouterr().out
    assert shown["claimed radius"] == rounded_down(case.claimed)
    assert shown["nearest break found"] == f"{case.found.size:#.3g}".rstrip(".")
    assert (tmp_path / "false.html").stat().st_size > 1e6 and len(code.splitlines()) <= 20


def test_a_lesson_hides_and_asks():
    at = opened("false", hide="controls,words", task="Which divisor is right?")
    assert "Which divisor is right" in at.info[0].value and badge(at) == ["broken"]


def test_both_depths():
    words, mathematics = (opened("false", depth=depth) for depth in ("in words", "with the mathematics"))
    assert "Seven digits are few" in said(words) and "$$" not in said(words)
    assert r"2 \sin(\theta / 2)" in "\n".join(element.value for element in mathematics.markdown)
