#include "retort/distill/energy.h"

#include <algorithm>
#include <fstream>

namespace retort {
namespace fs = std::filesystem;
namespace {

template <class T>
std::optional<T> read_value(const fs::path& path) {
  std::ifstream file(path);
  T value{};
  if (file >> value) return value;
  return std::nullopt;
}

/// "intel-rapl:0", not "intel-rapl:0:1" (a part of it) nor "intel-rapl-mmio:0" (the same once more).
bool top_level(const std::string& name) {
  constexpr std::string_view prefix = "intel-rapl:";
  return name.starts_with(prefix) && name.find(':', prefix.size()) == std::string::npos;
}

}  // namespace

EnergyMeter::EnergyMeter(Device device, const fs::path& powercap) : device_(device), read_at_(std::chrono::steady_clock::now()) {
  std::error_code error;
  for (const auto& zone : fs::directory_iterator(powercap, error)) {
    if (!top_level(zone.path().filename().string())) continue;
    const auto name = read_value<std::string>(zone.path() / "name");  // "psys", the whole board, would count packages twice
    const auto range = read_value<std::uint64_t>(zone.path() / "max_energy_range_uj");
    const auto now = read_value<std::uint64_t>(zone.path() / "energy_uj");
    if (name && name->starts_with("package") && range && now) packages_.push_back({zone.path() / "energy_uj", *range, *now});
  }
  if (device == Device::cuda) gpu_last_ = gpu_joules();
}

void EnergyMeter::read() {
  read_at_ = std::chrono::steady_clock::now();
  for (Package& package : packages_) {
    const auto now = read_value<std::uint64_t>(package.counter);
    if (!now) {
      failed_ = true;
      continue;
    }
    const std::uint64_t used = *now >= package.last ? *now - package.last : package.range - package.last + *now;
    joules_ += 1e-6 * static_cast<double>(used);
    package.last = *now;
  }
  if (!gpu_last_) return;
  const auto now = gpu_joules();
  if (!now) {
    failed_ = true;
    return;
  }
  joules_ += *now - *gpu_last_;
  gpu_last_ = now;
}

void EnergyMeter::tick() {
  if (std::chrono::steady_clock::now() - read_at_ >= std::chrono::duration<double>(period_seconds)) read();
}

std::optional<Energy> EnergyMeter::lap() {
  read();
  Energy energy{joules_, gpu_last_ ? "NVML" : ""};
  joules_ = 0;
  // On a GPU the processors alone would be a small part of what was used.
  const bool measured = !failed_ && (gpu_last_ || (device_ != Device::cuda && !packages_.empty()));
  failed_ = false;
  if (!measured) return std::nullopt;
  if (!packages_.empty())
    energy.source += fmt::format("{}RAPL ({} package{})", energy.source.empty() ? "" : " + ", packages_.size(),
                                 packages_.size() == 1 ? "" : "s");
  return energy;
}

std::optional<Energy> joined(const std::optional<Energy>& a, const std::optional<Energy>& b) {
  if (!a || !b) return std::nullopt;
  return Energy{a->joules + b->joules, b->source.empty() ? a->source : b->source};
}

}  // namespace retort
