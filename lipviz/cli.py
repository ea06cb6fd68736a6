"""The same work without a browser: `lipviz app | train | zoo | certify | runs | results | spectra | verify | ...`.

What a user got wrong ends with exit code 2 and one line on standard error.
"""

import argparse
import csv
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipviz import cli_bench
from lipviz.digits import rounded_down, rounded_up
from lipviz.tables import markdown, plain

if TYPE_CHECKING:
    from lipviz.runs import Run
    from lipviz.verify import Finding
    from lipviz.zoo import Entry

ATTACKED = 200
# the fields of a recipe that --NAME sets
RECIPE = {"epochs": int, "batch": int, "lr": float, "rise": float, "offset": float, "temperature": float}
RECIPE |= {"focus": float, "start": str}
COMPILE: dict[str, Any] = {
    "action": argparse.BooleanOptionalAction,
    "help": "try torch.compile (default: on a GPU)",
}
SOURCES = "moons, circles, spirals, digits, mnist, cifar10"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    options.line = shlex.join(["lipviz", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        return options.command(options) or 0
    except KeyboardInterrupt:
        kept = options.command in (_train, _zoo) and getattr(options, "changes", None) is None
        print(f"stopped{'; the run folder holds everything up to the last evaluation' * kept}", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError, ModuleNotFoundError) as error:
        print(f"lipviz: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lipviz", description="See, train and certify 1-Lipschitz networks.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help)
        command.set_defaults(command=run)
        return command

    app = add("app", _app, "open the app in a browser")
    app.add_argument("options", nargs=argparse.REMAINDER, help="passed to streamlit, such as --server.port 8600")

    train = add("train", _train, "train a network and write a run folder")
    _train_arguments(train)

    zoo = add("zoo", _zoo, "train the runs that a file lists, going on where it was stopped")
    _zoo_arguments(zoo)

    certify = add("certify", _certify, "label, margin and certified radius of pictures")
    certify.add_argument("pictures", nargs="+", type=Path)
    certify.add_argument("--model", nargs="+", type=Path, required=True, help="run folders")
    certify.add_argument("--json", action="store_true", help="print the certificates, for `lipviz verify`")

    listing = add("runs", _runs, "list runs with their numbers")
    listing.add_argument("folders", nargs="*", type=Path, help="folders of runs (default: checkpoints and runs)")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.add_argument("--markdown", action="store_true", help="print the table of the README")

    results = add("results", _results, "measured tables with their protocol beside the published ones, as Markdown")
    results.add_argument("folder", nargs="?", type=Path, default=Path("checkpoints"), help="(default: checkpoints)")
    results.add_argument("--out", type=Path, help="write the page here instead of printing it, such as RESULTS.md")

    spectra = add("spectra", _spectra, "singular values and bound of every layer of a run")
    spectra.add_argument("run", type=Path)
    spectra.add_argument("--json", action="store_true", help="print JSON")

    verify = add("verify", _verify, "compute a run, or the certificate of a picture, again, and say whether it agrees")
    verify.add_argument("run", type=Path, help="a run folder, or a certificate: a file of JSON")
    verify.add_argument("--model", type=Path, help="the run of a certificate (default: the one with its weights)")
    verify.add_argument(
        "--data", help="where the test set is: a name, a folder or a zip; without it no image is certified"
    )
    verify.add_argument("--images", type=int, default=200, help="test images, evenly spaced; 0 for all (default: 200)")

    attack = add("attack", _attack, "search for adversarial examples inside the certified radii of a run")
    _attack_arguments(attack)

    bench = add("bench", cli_bench.bench, "time and memory of every layer, as a ratio to the plain one")
    cli_bench.arguments(bench)
    return parser


def _train_arguments(train: argparse.ArgumentParser) -> None:
    train.add_argument("source", nargs="?", help=f"{SOURCES}, or a folder or zip of images")
    train.add_argument("--layer", default="aol", help="a row of the layer table (default: aol)")
    train.add_argument("--out", type=Path, help="the run folder (default: runs/SOURCE-LAYER)")
    train.add_argument("--resume", action="store_true", help="continue the run in --out")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    train.add_argument("--width", type=int, default=64, help="features or channels (default: 64)")
    train.add_argument("--size", type=int, help="side in pixels to which pictures are brought")
    train.add_argument("--threads", type=int, help="CPU threads (default: all)")
    for name, kind in RECIPE.items():
        train.add_argument(f"--{name}", type=kind, help="see lipviz.recipes.Recipe")
    train.add_argument("--note", action="append", default=[], help="a remark on the data, kept beside its numbers")
    train.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    train.add_argument("--compile", **COMPILE)


def _zoo_arguments(zoo: argparse.ArgumentParser) -> None:
    zoo.add_argument("file", type=Path, help="such as checkpoints/zoo.toml")
    zoo.add_argument("--data", type=Path, required=True, help="the folder that holds the data sets")
    zoo.add_argument("--out", type=Path, help="the folder of the runs (default: that of the file)")
    zoo.add_argument("--only", nargs="+", metavar="RUN", help="such as cifar10-aol (default: all)")
    zoo.add_argument("--seeds", nargs="+", type=int, default=[0], help="one run each (default: 0)")
    zoo.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    zoo.add_argument("--workers", type=int, default=1, help="runs at a time (default: 1; on a GPU always 1)")
    zoo.add_argument("--compile", **COMPILE)
    tuning = zoo.add_argument_group("tuning", "train on less, evaluate on the rest of the training set, keep no run")
    tuning.add_argument("--try", nargs="*", metavar="NAME=VALUE", dest="changes", help="such as lr=0.003 depth=6")
    tuning.add_argument("--seconds", type=float, help="the budget (default: that of the file)")
    tuning.add_argument("--csv", type=Path, help="add a line to this file")


def _attack_arguments(attack: argparse.ArgumentParser) -> None:
    attack.add_argument("run", type=Path)
    attack.add_argument("--data", required=True, help="where the test images are: a name, a folder or a zip")
    attack.add_argument(
        "--images", type=int, help=f"test images, evenly spaced (default: as many as before, at first {ATTACKED})"
    )
    attack.add_argument("--steps", type=int, help="of each attack (default: 30, of AutoAttack 100)")
    attack.add_argument("--restarts", type=int, help="of FMN, from other images (default: 1)")
    attack.add_argument("--seed", type=int, default=0, help="of the restarts and starting points (default: 0)")
    auto = attack.add_argument_group(
        "AutoAttack", "attacks answers that are right, at one radius, in its standard protocol"
    )
    auto.add_argument("--auto", action="store_true", help="run AutoAttack instead; keeps autoattack.json")
    auto.add_argument("--eps", help="the radius, such as 0.5 or 72/255 (default: 36/255)")
    auto.add_argument(
        "--parts", nargs="+", metavar="PART", help="only some: apgd-ce apgd-t fab-t square (default: all)"
    )


def _app(options: argparse.Namespace) -> int:
    import subprocess

    script = Path(__file__).parent.parent / "app.py"
    if not script.exists():
        raise ValueError("the app runs from a checkout of lipviz: clone it, then `make app`")
    return subprocess.call([sys.executable, "-m", "streamlit", "run", str(script), *options.options])


def _train(options: argparse.Namespace) -> None:
    import torch

    from lipviz import data, runs
    from lipviz.recipes import default_recipe, default_spec
    from lipviz.train import train

    if options.threads:
        torch.set_num_threads(options.threads)
    if options.resume:
        if options.out is None:
            raise ValueError("--resume needs --out, the run folder to continue")
        source = options.source or runs.load(options.out).config["data"].get("source", "")
        run = train(options.out, source, device=options.device, resume=True, compile=options.compile)
    else:
        if options.source is None:
            raise ValueError(f"give a source: {SOURCES}, or a folder or zip of images")
        shape = (3, options.size, options.size) if options.size else None
        loaded = data.load(options.source, shape, options.seed)
        loaded = replace(loaded, notes=(*loaded.notes, *options.note))
        given = {name: getattr(options, name) for name in (*RECIPE, "seed") if getattr(options, name) is not None}
        spec, recipe = default_spec(loaded, options.layer, options.width), default_recipe(loaded, **given)
        out = options.out or Path("runs") / f"{loaded.name}-{options.layer}"
        if (out / "run.json").exists():
            raise ValueError(f"{out} holds a run already: choose another --out, or continue it with --resume")
        run = train(
            out,
            options.source,
            spec=spec,
            recipe=recipe,
            data=loaded,
            device=options.device,
            compile=options.compile,
        )
    print(plain([_numbers(run)]))
    print(f"written to {run.folder}")


def _zoo(options: argparse.Namespace) -> None:
    from lipviz import zoo
    from lipviz.step import pick_device

    device = pick_device(options.device).type
    entries = zoo.chosen(zoo.read(options.file, device), options.only)
    if options.changes is not None:
        return _try(entries, device, options)
    out = options.out or options.file.parent
    for run in zoo.train_all(entries, options.data, out, device, options.seeds, options.workers, options.compile):
        print("  ".join(f"{key} {value}" for key, value in _numbers(run).items()), flush=True)


def _try(entries: "Sequence[Entry]", device: str, options: argparse.Namespace) -> None:
    import torch

    from lipviz import zoo

    torch.set_num_threads(max(1, torch.get_num_threads() // options.workers))
    for entry in entries:
        for seed in options.seeds:
            tried = zoo.changed(entry, options.changes, options.seconds)
            found = zoo.attempt(tried, options.data, device, seed, options.compile)
            row = {"tried": " ".join(options.changes), **found, "seed": seed}
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            if options.csv:
                new = not options.csv.exists()
                with options.csv.open("a", encoding="utf-8", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows([*([row] if new else []), row.values()])


def _certify(options: argparse.Namespace) -> None:
    from lipviz import proofs, runs
    from lipviz.certify import Certifier
    from lipviz.images import fit, open_picture

    pictures = [(path, open_picture(path, path.name)) for path in options.pictures]
    rows: list[dict[str, Any]] = []
    remarks: list[str] = []
    for folder in options.model:
        run = runs.load(folder)
        if len(run.spec.input_shape) != 3:
            raise ValueError(f"{folder}: this network takes {run.spec.input_shape[0]} numbers, not pictures")
        certifier = Certifier(run.model, run.spec.input_shape)
        for path, picture in pictures:
            pixels, fitted = fit(picture, run.spec.input_shape)
            remarks += [*picture.notes, *fitted]
            more = {"picture": path.name, "notes": [*picture.notes, *fitted]}
            rows.append({**proofs.proof(run, certifier, pixels), **more})
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    shown = ("picture", "run", "label", "margin")
    print(plain([{k: _short(row[k]) for k in shown} | {"radius": rounded_down(row["radius"], 4)} for row in rows]))
    print("radius: l2 norm, pixels in [0, 1], as the network sees the picture; the answer is stable, not correct")
    for note in dict.fromkeys(remarks):
        print(f"note: {note}")


def _runs(options: argparse.Namespace) -> None:
    from lipviz import runs

    folders = options.folders or [Path("checkpoints"), Path("runs")]
    left_out = dict(runs.unreadable(*folders))
    rows = [_numbers(run) for run in runs.find(*folders) if run.folder not in left_out]
    if options.json:
        print(json.dumps(rows, indent=2))
    elif options.markdown and rows:
        shown = [{k: str(v) for k, v in row.items() if k not in ("layer", "state")} for row in rows]
        print("\n".join(markdown([row | {"run": f"`{row['run']}`"} for row in shown])))
    elif rows:
        print(plain(rows))
        print("accuracies on the whole test set, in %; certified at k/255 in the l2 norm, inputs in [0, 1]")
    else:
        print(f"no runs in {', '.join(map(str, folders))}: train one with `lipviz train moons --layer aol`")
    for folder, why in left_out.items():
        print(f"left out: {folder}: {why}", file=sys.stderr)


def _numbers(run: "Run") -> dict[str, object]:
    """One row of the table of runs."""
    from lipviz.runs import MARKS, table

    results, certified = run.results, table(run.results.get("certified"))
    row: dict[str, object] = {"run": run.name, "layer": run.spec.layer, "state": run.config["state"]}
    row["clean"] = _percent(results.get("accuracy"))
    row |= {f"{k}/255": _percent(certified.get(str(k))) for k in MARKS}
    row |= {"test images": results.get("test_images", "-"), "epochs": run.config.get("epoch", "-")}
    row["lr"] = run.recipe.get("lr", "-")
    return row | {"train s": round(run.config.get("train_seconds", 0))}


def _results(options: argparse.Namespace) -> None:
    from lipviz.results import generate
    from lipviz.runs import write_bytes

    page = generate(options.folder)
    if options.out:
        write_bytes(options.out, page.encode())
    else:
        print(page, end="")


def _spectra(options: argparse.Namespace) -> None:
    from lipviz import runs
    from lipviz.bounds import bound
    from lipviz.spectra import spectra

    run = runs.load(options.run)
    certified = bound(run.model, run.spec.input_shape)
    bounds = {layer.name: layer for layer in certified.layers}
    rows: list[dict[str, Any]] = [
        {
            "layer": s.layer,
            "kind": s.kind,
            "largest": float(s.values[0]),
            "median": float(s.values[len(s.values) // 2]),
            "smallest": float(s.values[-1]),
            "distance to orthogonal": s.distance,
            "values": s.method,
            "bound": bounds[s.layer].value,
            "bound by": bounds[s.layer].method,
        }
        for s in spectra(run.model, run.spec.input_shape)
    ]
    if options.json:
        print(json.dumps({"layers": rows, "bound": certified.value}, indent=2))
        return
    print(plain([{k: _short(v) for k, v in row.items()} | {"bound": rounded_up(row["bound"])} for row in rows]))
    print(f"Lipschitz constant of the whole network, l2, at most {rounded_up(certified.value, 6)}")


def _verify(options: argparse.Namespace) -> int:
    from lipviz import runs
    from lipviz.verify import verify

    if options.run.is_file():
        found = _checked(options.run, options.model)
    else:
        found = verify(runs.load(options.run), options.data, options.images or None)
    print("\n".join(f"{'ok ' if finding.holds else 'NOT'} {finding.text}" for finding in found))
    return 0 if all(finding.holds for finding in found) else 1


def _checked(file: Path, model: Path | None) -> "list[Finding]":
    from lipviz import proofs, runs

    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{file} is not a file of JSON: give a run folder, or a certificate") from None
    each = said if isinstance(said, list) else [said]
    if not each or not all(isinstance(one, dict) for one in each):
        raise ValueError(f"{file} is not a certificate of lipviz: make one with `lipviz certify --json`")
    here = [runs.load(model)] if model else runs.find(Path("checkpoints"), Path("runs"))
    return [finding for one in each for finding in proofs.check(one, here[0] if model else proofs.fitting(one, here))]


def _attack(options: argparse.Namespace) -> int:
    from lipviz import runs
    from lipviz.attacks import Protocol, attack_run, report

    if options.auto:
        return _auto(options)
    if options.eps is not None or options.parts is not None:
        raise ValueError("--eps and --parts are of AutoAttack: add --auto, or leave them out")
    given = {key: getattr(options, key) for key in ("steps", "restarts", "seed") if getattr(options, key) is not None}
    run = runs.load(options.run)
    images = _as_before(lambda: len(kept.index) if (kept := run.attacks) else 0, options.images)
    found = attack_run(run, options.data, images, Protocol(**given))
    print(report(found))
    return 1 if found.broken else 0


def _as_before(count: Callable[[], int], asked: int | None) -> int:
    """As many images as asked, else as the folder has already: evidence gives way to less of it only by request."""
    if asked is not None:
        return asked
    try:
        return count() or ATTACKED
    except ValueError:  # what is there cannot be read
        return ATTACKED


def _auto(options: argparse.Namespace) -> int:
    from lipviz import autoattack, runs

    if options.restarts is not None:
        raise ValueError("--restarts is of FMN, AutoAttack has none: leave it out, or leave out --auto")
    given = {key: getattr(options, key) for key in ("steps", "seed") if getattr(options, key) is not None}
    given |= {"eps": _radius(options.eps)} if options.eps else {}
    given |= {"parts": tuple(options.parts)} if options.parts else {}
    run = runs.load(options.run)
    images = _as_before(lambda: kept.images if (kept := autoattack.read(run)) else 0, options.images)
    outcome = autoattack.attack_run(run, options.data, images, autoattack.Plan(**given))
    print(outcome.text())
    return 1 if outcome.inside else 0


def _radius(text: str) -> float:
    """A number, or one divided by another.

    >>> _radius("36/255") == 36 / 255, _radius("0.5")
    (True, 0.5)
    """
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"--eps must be a number such as 0.5 or 36/255, got {text!r}") from None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
