"""Many runs as one question: which runs there are to be, what is done of them, what they say together."""
