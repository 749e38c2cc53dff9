// A small physical model of accelerometers on people, for synthetic recordings. Not part of the public face.
//
// A sensor feels gravity, turned by how the body part is held and how the sensor is mounted, plus the acceleration of a periodic
// movement (a sum of harmonics), plus noise; then it clips at its range and rounds to its resolution.
#pragma once

#include "retort/core/random.h"

#include <array>
#include <cstdint>

namespace retort::motion {

using Vec3 = std::array<double, 3>;
using Rotation = std::array<Vec3, 3>;

/// Rotation by degrees about x, then y, then z.
Rotation rotation(double x, double y, double z);
Vec3 turn(const Rotation& rotation, const Vec3& v);
Rotation combine(const Rotation& second, const Rotation& first);
/// A mounting error: normally distributed angles with this standard deviation in degrees about each axis.
Rotation random_rotation(double sigma, Random& random);

struct Sensor {
  double noise, range, resolution;  ///< in the unit of the data set
};
/// What the sensor reports for acceleration a.
Vec3 measure(const Vec3& a, const Sensor& sensor, Random& random);

/// One kind of movement at one place of the body.
struct Movement {
  double hz = 1;         ///< of the fundamental
  double amplitude = 0;  ///< of the fundamental, same unit as gravity
  double pause = 0;      ///< share of the time without movement, as between two bites
};

/// Acceleration of a movement over time. The pattern of harmonics belongs to (activity, place) and is the same for everyone; each
/// person does it in a way of their own, which `random` decides.
class Periodic {
 public:
  Periodic(const Movement& movement, std::uint64_t pattern, Random& random);
  /// The next sample, `dt` seconds after the last.
  Vec3 next(double dt, Random& random);

 private:
  static constexpr int harmonics = 4;
  Movement movement_;
  double phase_, time_ = 0, slow_phase_, wander_ = 0;
  std::array<std::array<double, 3>, harmonics> weight_, shift_;
};

}  // namespace retort::motion
