"""What every method promises, as checks that say what broke, why it matters and how to mend it: `bench check`."""
