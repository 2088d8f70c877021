"""The page people share: one HTML file with everything in it, and the index of a run.

For the commands, the live page and the package's face. `findings` is what a page shows and how
its script is told, `document` the HTML around it, `run_pages` a whole run. The script stands in
`assets/`, one concept a file, and is joined when a page is made.
"""

from eagle_jax.reports.page.findings import Finding as Finding
from eagle_jax.reports.page.findings import read_finding as read_finding
from eagle_jax.reports.page.report import page as page
from eagle_jax.reports.page.report import report as report
from eagle_jax.reports.page.report import report_frame as report_frame
