"""Tests of the files below `deploy/`: each is checked as far as that goes without a daemon or a cluster."""
