"""`lipviz bench ...`: what it can measure, and with which options."""

import argparse
import sys
from pathlib import Path

from lipviz.tables import plain


def arguments(bench: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    bench.add_argument(
        "what",
        choices=["layers", "train", "pieces", "sdp", "tightness", "app"],
        help="train: images a second of the zoo's networks; pieces: of which layers are made; sdp: the solvers; "
        "tightness: on a square wave; app: for a visitor",
    )
    bench.add_argument("--pairs", type=int, default=15, help="pairs behind each median (default: 15)")
    bench.add_argument("--rows", nargs="+", metavar="ROW", help="rows of the layer table (default: all)")
    bench.add_argument("--peers", action="store_true", help="measure torch, orthogonium and deel-torchlip too")
    bench.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    bench.add_argument("--dtypes", nargs="+", help="float32, bfloat16 (default: float32, on a GPU both)")
    bench.add_argument("--compile", action="store_true", help="measure once more under torch.compile")
    bench.add_argument("--threads", type=int, help="CPU threads (default: all)")
    bench.add_argument("--csv", type=Path, help="write the numbers here")
    bench.add_argument("--markdown", type=Path, help="write a page with the protocol and the tables here")
    bench.add_argument("--figure", type=Path, help="write a figure here: .html, or with kaleido .svg, .png, .pdf")
    bench.add_argument("--zoo", type=Path, default=Path("checkpoints/zoo.toml"), help="train: whose networks")
    wave = bench.add_argument_group("tightness", "with --rows, --threads, --markdown and --csv, whose fits are kept")
    wave.add_argument("--gammas", nargs="+", type=float, default=[1.0, 5.0, 10.0], help="bounds (default: 1 5 10)")
    wave.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    wave.add_argument("--epochs", type=int, default=200, help="default: 200")
    site = bench.add_argument_group("app", "with --markdown; it starts a server of its own on this machine")
    site.add_argument("--only", nargs="+", metavar="PART", help="start first bytes slider drag clients training")
    site.add_argument("--clients", type=int, default=30, help="visitors of the playground (default: 30)")
    site.add_argument("--seconds", type=float, default=30.0, help="how long they stay (default: 30)")


def bench(options: argparse.Namespace) -> None:
    """Measure what was asked for, print it, and write the files that were named."""
    import torch

    if options.what == "tightness":
        return _tightness(options)
    if options.what == "app":
        return _speed(options)

    from lipviz import bench_report as report
    from lipviz.bench import layers
    from lipviz.bench_pieces import pieces, solved

    files = {kind: getattr(options, kind) for kind in ("csv", "markdown", "figure")}
    report.check(**files)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.what == "train":
        return _rates(options)
    if options.what == "pieces":
        report.publish_pieces(pieces(options.pairs), options.line, options.pairs, options.markdown)
        return
    if options.what == "sdp":
        report.publish_solvers(solved(options.seeds), options.line, options.markdown)
        return
    keys = ("pairs", "rows", "peers", "device", "dtypes", "compile")
    found = layers(**{key: getattr(options, key) for key in keys}, show=True)
    lines = [f"Command: {options.line}", *report.protocol(found, options.pairs, options.device, options.peers)]
    for title, rows in report.tables(found).items():
        print(f"{title}\n{plain(rows)}\n")
    print("\n".join(lines))
    report.write(found, lines, **files)


def _rates(options: argparse.Namespace) -> None:
    from lipviz import bench_report as report
    from lipviz import bench_train
    from lipviz.runs import write_csv

    asked = (options.zoo, options.pairs, options.rows, options.device, options.compile or None)
    found = bench_train.training(*asked, show=True)
    lines = bench_train.protocol(found, options.pairs, options.device)
    report.publish_training([each.words() for each in found], options.line, lines, options.markdown, options.device)
    if options.csv:
        write_csv(options.csv, [each.numbers() for each in found])


def _tightness(options: argparse.Namespace) -> None:
    import torch

    from lipviz import squarewave_report as report
    from lipviz.bench_report import check
    from lipviz.runs import write_bytes

    check(options.csv, options.markdown)
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = options.rows or list(report.SETTINGS)
    found = report.fits(rows, options.gammas, options.seeds, options.epochs, options.csv)
    print(plain(report.means(found)))
    if options.markdown:
        write_bytes(options.markdown, report.page(found, options.line, options.epochs).encode())


def _speed(options: argparse.Namespace) -> None:
    import signal

    from lipviz import bench_app, bench_report

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server it started ends too
    bench_report.check(markdown=options.markdown)
    found = bench_app.measure(options.only, options.clients, options.seconds)
    lines = bench_app.protocol(found, options.clients, options.seconds)
    bench_report.publish_app(found, options.line, lines, options.markdown)
