#!/bin/sh
# A short crash loop for `make check`; `make soak` is the long one.
ROUNDS=${ROUNDS:-25} exec "${AUTODL_BUILD:-.}/tests/soak_crash"
