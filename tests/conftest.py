"""Strictness that every test runs under."""

import signal

import hypothesis
import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)

# A shell that starts tests in the background has them ignore Ctrl-C, and so
# would every command under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, nothing of the code.
hypothesis.settings.register_profile('house', deadline=None)
hypothesis.settings.load_profile('house')
