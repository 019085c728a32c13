# Passes on what `cargo test` prints and ends with one line that counts it all. The last line
# of the input says "cargo ended with STATUS". Fails when that is not 0, when a test failed,
# and when none ran.

# test result: ok. 6 passed; 0 failed; 1 ignored; ...
/^test result: / { passed += $4; failed += $6; skipped += $8 }

# A test that found something missing says so and passes.
/^(test .* \.\.\. )?skipped: / { skipped++; passed-- }

/^cargo ended with / { status = $4; next }

{ print; fflush() }

END {
    # A test program that crashed has no result.
    if (status != 0 && failed == 0) failed = 1
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed > 0 || passed == 0
}
