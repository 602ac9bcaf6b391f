"""One page about finished runs, sweeps and evaluations: table, comparison with the paper, charts, clips (dsn-report).

``collect`` finds the files, ``result_rows`` makes rows of means over seeds, ``frontiers``, ``training_curves`` and
``confusion_matrix`` draw charts, which ``inline_svg`` brings into the page, ``differences`` shows the statistics of
evaluations, ``pictures`` and ``timeline`` their contact sheets, and ``page`` writes ``report.html``, ``report.md`` and
``report.csv``.
"""
