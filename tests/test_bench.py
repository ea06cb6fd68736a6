"""The benchmark: calls in turns, ratios and quartiles, bytes, tables. Nothing here depends on how fast anything is."""

import csv
import io
import math
import re
from dataclasses import replace
from importlib import metadata
from itertools import count

import numpy as np
import pytest
import torch
from torch import nn

from lipviz import bench, bench_peers, bench_report, bench_timing
from lipviz.bench import Measurement, Mode, Shape
from lipviz.bench_peers import Candidate
from lipviz.bench_timing import Spread
from lipviz.cli import main
from lipviz.drawing import DARK, LIGHT, STYLE, UNKNOWN
from lipviz.figures_bench import figure_of  # noqa
