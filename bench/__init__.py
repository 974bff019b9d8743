"""The benchmark: what does Sluice cost, beside a bare pass-through and beside litellm alone?"""
