"""What ovnk costs, measured: `python -m tests.bench [SECTION…]`, or `make bench`.

Each figure stands beside a bound that was measured in the same run (what the database, the API server or the machine
can do at all), so that a busy machine slows both and the share still says something. Nothing here asserts.
"""
