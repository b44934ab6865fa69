"""Simulations of the whole gateway as functions of a seed: workloads, faults, auditors, shrinking."""
