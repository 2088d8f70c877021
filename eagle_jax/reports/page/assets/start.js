showReport(document.querySelector("main"),
  JSON.parse(document.getElementById("data").textContent).findings.map(readFinding));
