#include "retort/bench/suite/machine.h"

#include "retort/core/file.h"
#include "retort/core/version.h"

#include <sched.h>
#include <sys/utsname.h>

#include <Eigen/Core>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <limits>
#include <thread>

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

double line_round_trip_ns() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return 0;
  int cpu = -1;
  const auto next = [&] {
    do ++cpu;
    while (!CPU_ISSET(cpu, &allowed));
    return cpu;
  };
  constexpr int trips = 20'000;
  std::atomic<int> line{0};
  const auto answer = [&](int on, int first) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(on, &one);
    ::sched_setaffinity(0, sizeof one, &one);
    for (int i = first; i < 2 * trips; i += 2) {
      while (line.load(std::memory_order_acquire) != i) {
      }
      line.store(i + 1, std::memory_order_release);
    }
  };
  double fastest = std::numeric_limits<double>::infinity();
  const int one = next(), other = next();
  for (int round = 0; round < 3; ++round) {
    line.store(0, std::memory_order_relaxed);
    const auto begin = std::chrono::steady_clock::now();
    std::thread a(answer, one, 0), b(answer, other, 1);
    a.join();
    b.join();
    fastest =
        std::min(fastest, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count() / trips);
  }
  return fastest;
}

void write_json(const std::string& path, const Json& json) {
  const std::string text = json.dump(1) + "\n";
  if (path == "-")
    std::fputs(text.c_str(), stdout);
  else
    write_file_atomically(path, text);
}

}  // namespace retort::bench
