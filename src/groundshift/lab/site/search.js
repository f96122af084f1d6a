// A classic script: module scripts and fetch are blocked on pages opened from the disk.
(function () {
  "use strict";

  function catalogue() {
    var form = document.querySelector(".filters");
    if (!form || !window.CATALOGUE) return;
    form.hidden = false;
    var search = document.getElementById("search");
    var selects = Array.from(form.querySelectorAll("select"));
    var cards = Array.from(document.querySelectorAll(".card"));
    var bySlug = new Map(window.CATALOGUE.map(function (item) { return [item.slug, item]; }));

    function matches(item) {
      var words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      return words.every(function (word) { return item.text.includes(word); }) &&
        selects.every(function (select) {
          var wanted = select.value, has = item[select.dataset.filter];
          return !wanted || (Array.isArray(has) ? has.includes(wanted) : has === wanted);
        });
    }

    function update() {
      var shown = 0;
      cards.forEach(function (card) {
        card.hidden = !matches(bySlug.get(card.dataset.slug));
        if (!card.hidden) shown += 1;
      });
      document.getElementById("count").textContent = shown + " of " + cards.length + " systems";
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

  catalogue();
  document.querySelectorAll("table.sortable").forEach(sortable);
})();
