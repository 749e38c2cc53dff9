#include "retort/distill/presets.h"

#include "retort/data/split.h"
#include "retort/distill/method.h"

namespace retort {

RunConfig default_config(const std::string& preset, const std::string& method) {
  const auto methods = method_names();
  check<InputError>(std::ranges::find(methods, method) != methods.end(), "unknown method '{}'; known are {}", method,
                    fmt::join(methods, ", "));
  RunConfig config;
  config.method = method;
  config.preset = preset;
  config.split = name(split_of_preset(preset));  // refuses unknown presets
  config.arch = preset == "strict" ? "mtl-net" : "mtl-net-" + preset;
  config.select = preset != "released" ? "best-mean" : method == "smooth-distill" ? "best-task1" : "last";
  const MethodOptions options = default_options(method);
  config.alpha = options.alpha;
  config.lambda = options.lambda;
  config.tau = options.tau;
  return config;
}

}  // namespace retort
