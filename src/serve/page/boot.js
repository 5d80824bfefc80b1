// Before anything is painted: the theme that was chosen last (a module would come too late and flash), and the token out of the
// address bar, so that it is in no bookmark and no screenshot. The cookie has it from here on.
(() => {
  try {
    const theme = localStorage.getItem("personascope.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage can be forbidden; then the system decides.
  }
  const here = new URL(location.href);
  if (here.searchParams.has("token")) {
    here.searchParams.delete("token");
    history.replaceState(null, "", here.pathname + here.search + here.hash);
  }
})();
