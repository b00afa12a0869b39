"""How long a dream is worth more than a guess, beside a real drive."""
