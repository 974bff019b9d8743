"""Limits on rates: how many calls, tokens and calls at once may a key, a team or a model have?"""
