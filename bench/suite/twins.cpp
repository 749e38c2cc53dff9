#include "retort/bench/suite/twins.h"

namespace retort::bench {

// Each is defined in its own file when CMake found the library.
#if RETORT_OPENBLAS
std::string openblas_version();
Twin openblas_linear(const LinearShape&, Pass);
#endif
#if RETORT_ONEDNN
std::string onednn_version();
Twin onednn_linear(const LinearShape&, Pass);
Twin onednn_conv2d(const Conv2dShape&, Pass);
#endif

namespace {

std::vector<Twin> linear_twins([[maybe_unused]] const LinearShape& z, [[maybe_unused]] Pass pass) {
  std::vector<Twin> twins;
#if RETORT_OPENBLAS
  twins.push_back(openblas_linear(z, pass));
#endif
#if RETORT_ONEDNN
  twins.push_back(onednn_linear(z, pass));
#endif
  return twins;
}

std::vector<Twin> conv2d_twins([[maybe_unused]] const Conv2dShape& z, [[maybe_unused]] Pass pass) {
  std::vector<Twin> twins;
#if RETORT_ONEDNN
  twins.push_back(onednn_conv2d(z, pass));
#endif
  return twins;
}

std::vector<std::string> twin_versions() {
  std::vector<std::string> versions;
#if RETORT_OPENBLAS
  versions.push_back(openblas_version());
#endif
#if RETORT_ONEDNN
  versions.push_back(onednn_version());
#endif
  return versions;
}

}  // namespace

Twins library_twins() { return {linear_twins, conv2d_twins, twin_versions}; }

}  // namespace retort::bench
