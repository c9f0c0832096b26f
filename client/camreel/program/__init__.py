"""Programs: image classifiers as lists of steps, exported from modules, evaluated one by one."""

from camreel.program.errors import ExportError, InvalidProgram, ProgramError
from camreel.program.exporter import Export, export_program
from camreel.program.format import Program
from camreel.program.interpreter import Live, ProgramNetwork, Split
from camreel.program.layers import Grid, Layer, Layout, find_layers

__all__ = [
    "Export",
    "ExportError",
    "Grid",
    "InvalidProgram",
    "Layer",
    "Layout",
    "Live",
    "Program",
    "ProgramError",
    "ProgramNetwork",
    "Split",
    "export_program",
    "find_layers",
]
