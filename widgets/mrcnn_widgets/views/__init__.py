"""What each stage shows, as pure functions: a module for each stage, and what they share.

A view knows neither a widget nor a kernel. It takes a trace (or what an explorer computed from
one) and settings as plain values, and returns plain data:

    layers(…) -> list[Layer]                 # what lies on the photo, the first at the bottom
    facts(…) -> list[tuple[str, str]]        # the lines of the table beside it

An explorer holds settings and controls, calls the view of its stage and draws what it returns; a
report calls the same functions without a kernel. A module may offer several such functions, named
for what they show, where a stage changes one part of its picture at a time.
"""
