"""Kinds: what a verdict on a task can be."""

SMOOTH = 'smooth'
ARTEFACT = 'metric artefact'
FLOOR = 'resolution floor'
NOISE = 'noise'
BREAK = 'genuine break'
ONE_METRIC = 'break in this metric'
UNMEASURABLE = 'not measurable'
