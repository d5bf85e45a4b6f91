"""Which strategy to take, and what a strategy would do on other links and cores. Pure: no pytest, no files."""
