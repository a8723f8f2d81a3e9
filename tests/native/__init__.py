"""Native code under sanitizers and valgrind, outside pytest: ``make native-check``.

check             compile and run the program below
sign_run_check.c  the native loop of lanes with a module that fails, lies and is stopped at random
"""
