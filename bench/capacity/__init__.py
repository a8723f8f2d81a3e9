"""Capacity planning: what a number of signatures a day needs.

hsm_rates     published signing rates of HSMs, with sources
model         the capacity model, pure functions
planning      measured costs of a report as input of the model

Must never import the testbed or the load: a plan starts nothing.
"""
