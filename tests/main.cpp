#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#ifdef CDISIM_SANITIZE
// COIN-OR's presolve (libCoinUtils) forgets an array now and then.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:implied_free_action\n";
}
#endif
