"""The branches that `jax.lax.platform_dependent` offers, chosen by hand."""

import contextlib
from unittest import mock

import jax


@contextlib.contextmanager
def accelerator_branches():
    """Take the default branch of every choice by platform that is traced within, on CPUs too."""

    def default_branch(*args, default, **per_platform):
        return default(*args)

    with mock.patch.object(jax.lax, "platform_dependent", default_branch):
        yield
