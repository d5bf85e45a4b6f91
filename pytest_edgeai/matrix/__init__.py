"""The matrix model × operator × placement: strategies, planned trials and their order."""
