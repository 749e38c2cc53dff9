// The energy meter on a made-up powercap directory.
#include "retort/distill/energy.h"

#include "catch.h"
#include "retort/distill/run_record.h"
#include "temp_directory.h"

#include <random>

using namespace retort;
using retort_test::TempDirectory;

namespace {

constexpr std::uint64_t range = 262'143'328'850;

void write_zone(const TempDirectory& sys, const std::string& zone, const std::string& name, std::uint64_t microjoules) {
  sys.write(zone + "/name", name + "\n");
  sys.write(zone + "/max_energy_range_uj", std::to_string(range) + "\n");
  sys.write(zone + "/energy_uj", std::to_string(microjoules) + "\n");
}

}  // namespace

TEST_CASE("the packages' counters are summed, their parts and twins are not, and they may wrap around") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const std::uint64_t used0 = random() % 1'000'000'000, used1 = random() % 1'000'000'000, left = random() % (used1 + 1);
  TempDirectory sys;
  write_zone(sys, "intel-rapl:0", "package-0", 5'000'000);
  write_zone(sys, "intel-rapl:1", "package-1", range - left);
  write_zone(sys, "intel-rapl:0:0", "core", 0);
  write_zone(sys, "intel-rapl:2", "psys", 0);
  write_zone(sys, "intel-rapl-mmio:0", "package-0", 0);
  sys.write("intel-rapl/enabled", "1\n");
  EnergyMeter meter(Device::cpu, sys.path());
  write_zone(sys, "intel-rapl:0", "package-0", 5'000'000 + used0);
  write_zone(sys, "intel-rapl:1", "package-1", used1 - left);  // it went through `range`
  for (const char* other : {"intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0"}) write_zone(sys, other, "core", 99'000'000);
  const auto first = meter.lap();
  REQUIRE(first.has_value());
  CHECK(first->joules == Approx(1e-6 * static_cast<double>(used0 + used1)).epsilon(1e-12));
  CHECK(first->source == "RAPL (2 packages)");
  CHECK(meter.lap()->joules == 0);
  // Two rounds between laps are seen when somebody looks in between.
  meter.period_seconds = 0;
  write_zone(sys, "intel-rapl:0", "package-0", 0);
  meter.tick();
  write_zone(sys, "intel-rapl:0", "package-0", 4'000'000);
  CHECK(meter.lap()->joules == Approx(1e-6 * static_cast<double>(range - 5'000'000 - used0 + 4'000'000)).epsilon(1e-12));
  // A counter that fails: this lap is not measured, a part would look like the whole.
  std::filesystem::remove(sys / "intel-rapl:1/energy_uj");
  CHECK_FALSE(meter.lap().has_value());
}

TEST_CASE("without counters nothing is measured") {
  TempDirectory sys;
  CHECK_FALSE(EnergyMeter(Device::cpu, sys / "missing").lap().has_value());
  sys.write("intel-rapl:0/name", "package-0\n");
  sys.write("intel-rapl:0/max_energy_range_uj", "garbage\n");
  sys.write("intel-rapl:0/energy_uj", "12\n");
  CHECK_FALSE(EnergyMeter(Device::cpu, sys.path()).lap().has_value());
  write_zone(sys, "intel-rapl:0", "package-0", 1);
  CHECK(EnergyMeter(Device::cpu, sys.path()).lap().has_value());
  CHECK_FALSE(EnergyMeter(Device::cuda, sys.path()).lap().has_value());  // no GPU answers: the processors are not the whole
}

TEST_CASE("stretches of a run are joined, and one that was not measured spoils the sum") {
  const std::optional<Energy> none, a = Energy{2, "RAPL (1 package)"}, b = Energy{3, "RAPL (1 package)"};
  CHECK(joined(Energy{}, a)->joules == 2);
  CHECK(joined(a, b)->joules == 5);
  CHECK(joined(a, b)->source == "RAPL (1 package)");
  CHECK_FALSE(joined(a, none).has_value());
  CHECK_FALSE(joined(none, a).has_value());
  // In a summary it is null when not measured, and older files lack it.
  Summary summary;
  Json json = fields_to_json(summary);
  CHECK(json.at("energy").is_null());
  json.erase("energy");
  CHECK_FALSE(fields_from_json<Summary>(json, "summary").energy.has_value());
  summary.energy = a;
  CHECK(fields_from_json<Summary>(fields_to_json(summary), "summary").energy->joules == 2);
}
