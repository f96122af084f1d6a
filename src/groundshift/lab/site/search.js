// A classic script: module scripts and fetch are blocked on pages opened from the disk.
(function () {
  "use strict";

  // Whatever carries data-text is filtered: the cards of the catalogue, the rows of the claims.
  function filters() {
    var form = document.querySelector(".filters");
    if (!form) return;
    form.hidden = false;
    var search = document.getElementById("search"), count = document.getElementById("count");
    var selects = Array.from(form.querySelectorAll("select"));
    var items = Array.from(document.querySelectorAll("[data-text]"));

    function matches(item) {
      var words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      return words.every(function (word) { return item.dataset.text.includes(word); }) &&
        selects.every(function (select) {
          return !select.value || item.dataset[select.dataset.filter].split("|").includes(select.value);
        });
    }

    function update() {
      var shown = 0;
      items.forEach(function (item) {
        item.hidden = !matches(item);
        if (!item.hidden) shown += 1;
      });
      document.querySelectorAll("[data-group]").forEach(function (group) {
        group.hidden = !group.querySelector("[data-text]:not([hidden])");
      });
      count.textContent = shown + " of " + items.length + " " + count.dataset.noun;
    }

    form.addEventListener("input", update);
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    document.addEventListener("keydown", function (event) {
      if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
        event.preventDefault();
        search.focus();
      }
    });
  }

  function sortable(table) {
    var heads = Array.from(table.tHead.rows[0].cells), body = table.tBodies[0];
    heads.forEach(function (head, column) {
      head.querySelector("button").addEventListener("click", function () {
        var up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        var value = function (row) { return row.cells[column].dataset.sort || ""; };
        Array.from(body.rows).sort(function (a, b) {
          var x = value(a), y = value(b), numeric = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
          var order = numeric ? x - y : x.localeCompare(y, undefined, { numeric: true });
          return up ? order : -order;
        }).forEach(function (row) { body.appendChild(row); });
      });
    });
  }

  filters();
  document.querySelectorAll("table.sortable").forEach(sortable);
})();
