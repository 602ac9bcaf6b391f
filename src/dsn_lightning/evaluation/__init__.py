"""Clip scores -> selections -> metrics -> tables. One pass of the networks; everything after it is pure."""
