"""Tests of journeys: journeys/tests/*.yaml, played on the simulator or on the real engine, and held against what they expect.

chosen       which tests are meant                      passages      a test's customer and what they send in
timeline     the real engine, its time moved from here  expectations  what was expected beside what happened
playing      tests in, results out, on either engine    showing       a result as people read it
passing      what time alone brings about there         junit         results as CI reads them
covering     what no test passes
"""
