#include "retort/bench/suite/machine.h"

#include "retort/core/file.h"
#include "retort/core/version.h"

#include <sys/utsname.h>

#include <Eigen/Core>
#include <cstdio>
#include <ctime>

namespace retort::bench {

Json machine(Device device, int threads) {
  utsname system{};
  ::uname(&system);
  char date[16] = "";
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%F", std::gmtime(&now));
  return {{"device", describe(device)},
          {"threads", threads},
          {"system", fmt::format("{} {}", system.sysname, system.release)},
          {"compiler", compiler()},
          {"retort", std::string(version())},
          {"eigen", fmt::format("{}.{}.{}", EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION)},
          {"date", date}};
}

void write_json(const std::string& path, const Json& json) {
  const std::string text = json.dump(1) + "\n";
  if (path == "-")
    std::fputs(text.c_str(), stdout);
  else
    write_file_atomically(path, text);
}

}  // namespace retort::bench
