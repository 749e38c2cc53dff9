#include "retort/data/motion.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace retort::motion {
namespace {

constexpr double two_pi = 2 * std::numbers::pi;

}  // namespace

Vec3 turn(const Rotation& r, const Vec3& v) {
  Vec3 out{};
  for (std::size_t i = 0; i < 3; ++i) out[i] = r[i][0] * v[0] + r[i][1] * v[1] + r[i][2] * v[2];
  return out;
}

Rotation combine(const Rotation& second, const Rotation& first) {
  Rotation out{};
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j)
      for (std::size_t k = 0; k < 3; ++k) out[i][j] += second[i][k] * first[k][j];
  return out;
}

Rotation rotation(double x, double y, double z) {
  const double degree = std::numbers::pi / 180;
  const double cx = std::cos(x * degree), sx = std::sin(x * degree), cy = std::cos(y * degree), sy = std::sin(y * degree);
  const double cz = std::cos(z * degree), sz = std::sin(z * degree);
  const Rotation about_x = {{{1, 0, 0}, {0, cx, -sx}, {0, sx, cx}}};
  const Rotation about_y = {{{cy, 0, sy}, {0, 1, 0}, {-sy, 0, cy}}};
  const Rotation about_z = {{{cz, -sz, 0}, {sz, cz, 0}, {0, 0, 1}}};
  return combine(about_z, combine(about_y, about_x));
}

Rotation random_rotation(double sigma, Random& random) {
  // Drawn in three statements: the order of evaluation of arguments is the compiler's choice.
  const double x = sigma * random.normal();
  const double y = sigma * random.normal();
  const double z = sigma * random.normal();
  return rotation(x, y, z);
}

Vec3 measure(const Vec3& a, const Sensor& sensor, Random& random) {
  Vec3 out{};
  for (std::size_t i = 0; i < 3; ++i) {
    const double noisy = std::clamp(a[i] + sensor.noise * random.normal(), -sensor.range, sensor.range);
    out[i] = std::round(noisy / sensor.resolution) * sensor.resolution;
  }
  return out;
}

Periodic::Periodic(const Movement& movement, std::uint64_t pattern, Random& random) : movement_(movement) {
  Random shared(0x7265746F7274ull, pattern);
  for (std::size_t h = 0; h < harmonics; ++h)
    for (std::size_t axis = 0; axis < 3; ++axis) {
      weight_[h][axis] = shared.uniform(0.15, 1.0) / static_cast<double>(h + 1);
      shift_[h][axis] = shared.uniform(0, two_pi);
      weight_[h][axis] *= std::max(0.0, 1 + 0.3 * random.normal());
      shift_[h][axis] += 0.5 * random.normal();
    }
  phase_ = random.uniform(0, two_pi);
  slow_phase_ = random.uniform(0, two_pi);
  movement_.amplitude *= std::exp(0.2 * random.normal());
}

Vec3 Periodic::next(double dt, Random& random) {
  // The pace wanders: an Ornstein-Uhlenbeck process with a memory of about a second and a spread of about 5 %.
  wander_ += -wander_ * dt + 0.07 * std::sqrt(dt) * random.normal();
  phase_ = std::fmod(phase_ + two_pi * movement_.hz * (1 + wander_) * dt, two_pi);
  time_ += dt;
  const double slow = std::sin(two_pi * time_ / 6.5 + slow_phase_);
  const double envelope = movement_.pause > 0 ? std::clamp((slow + 1) / 2 - movement_.pause, 0.0, 0.25) * 4 : 1 + 0.15 * slow;
  Vec3 out{};
  for (std::size_t h = 0; h < harmonics; ++h)
    for (std::size_t axis = 0; axis < 3; ++axis)
      out[axis] += weight_[h][axis] * std::sin(static_cast<double>(h + 1) * phase_ + shift_[h][axis]);
  for (double& value : out) value *= movement_.amplitude * envelope;
  return out;
}

}  // namespace retort::motion
