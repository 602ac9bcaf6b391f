"""One page of any finished runs, sweeps and evaluations: table, paper beside ours, figures, clips (dsn-report).

``collect`` finds what is in folders, ``results`` makes rows of means over seeds of it, ``chart`` and ``figures`` draw,
``pictures`` takes contact sheets and time lines out of evaluations, ``statistics`` what is known of differences, and
``page`` writes ``report.html``, ``report.md`` and ``report.csv``.
"""
