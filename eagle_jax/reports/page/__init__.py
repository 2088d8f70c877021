"""The page that people share: one HTML file with everything in it, and the index of a run.

For the commands, the live page and the package's face. `explanations` is what a page shows,
`page_data` the same for its script, `document` the HTML around it, `run_pages` a whole run. The
scripts stand in `assets/`, one concept a file, and are joined when a page is made.
"""

from eagle_jax.reports.page.explanations import Explanation as Explanation
from eagle_jax.reports.page.explanations import read_explanation as read_explanation
from eagle_jax.reports.page.report import page_bytes as page_bytes
from eagle_jax.reports.page.report import report as report
from eagle_jax.reports.page.report import report_frame as report_frame
