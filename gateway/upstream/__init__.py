"""The lanes: who speaks to a provider, and what does its answer mean?"""
