"""Drawn data, demonstrations and their report; not part of the installed package."""
