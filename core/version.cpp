#include "retort/core/version.h"

namespace retort {

std::string_view version() { return RETORT_VERSION; }

std::string compiler() {
#if defined(__clang__)
  const std::string name = __VERSION__;  // says Clang itself
#elif defined(__GNUC__)
  const std::string name = "GCC " __VERSION__;
#else
  const std::string name = "an unknown compiler";
#endif
#ifdef NDEBUG
  return name + ", release";
#else
  return name + ", debug";
#endif
}

}  // namespace retort
