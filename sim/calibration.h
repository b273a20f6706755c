#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/hardware.h"
#include "sim/json_reader.h"
#include "sim/roofline.h"

namespace cdisim {

/// What the time of a run is made of, and what the calibration has one number for each of: arithmetic by
/// WorkKind (as far as it is measured), bytes, and overheads. Spelled in JSON in snake case: "conv_1x1",
/// "memory", "layer_overhead".
enum class CostTerm {
  kConvFirst,
  kConv1x1,
  kConv3x3,
  kConvStrided,
  kConvLarge,
  kDepthwiseConv,
  kFc,
  kMemory,
  kLayerOverhead,
  kOperatorOverhead,
  kRunOverhead,
};
inline constexpr int kCostTerms = 11;
const std::vector<std::string>& cost_term_names();
/// The term that the arithmetic of a kind of work counts under: its own, or the most similar one that is
/// measured (matrix products as conv_1x1, recurrent layers as fc, operators as depthwise_conv).
CostTerm arithmetic_term(WorkKind kind);

/// Time by CostTerm: of a class, the inverse of the efficiency, or seconds of overhead; of a runtime, a
/// device or a profile, the factor on its class's.
using CostFactors = std::array<double, kCostTerms>;

/// How a profile's own slowdown acts on a term: factor = slowdown ^ exponent. Arithmetic follows it, bytes
/// half of the way, overheads not at all: a faster card launches no faster. The half is
/// assumed: set by hand after trials with 1 and 1/2.
double slowdown_exponent(CostTerm term);

/// Operations per second of so many threads of a processor: peak * (threads / cores) ^ 0.6, threads being
/// fewer than the cores. The exponent stands between equal cores (1) and one big core that does nearly all
/// (0): assumed, set by hand after trials with 0.55 to 1.
double thread_speed(double peak_flop_per_s, int threads, const Processor& processor);

/// Bytes of a number at a precision: "fp16" 2, "int8" 1, "fp32" and "tf32" 4.
double precision_bytes(std::string_view precision);

/// The short name of a precision as people and runtimes write it: "float16", "half", "amp-fp16" are "fp16".
std::string short_precision(std::string_view precision);

/// The runtime without version and options: "PyTorch 2.4 dynamo" is of the family "PyTorch".
std::string runtime_family(std::string_view runtime);

/// Relative errors |predicted / measured - 1|.
struct ErrorStatistics {
  int count = 0;
  double median = 0, p90 = 0;
};
Json to_json(const ErrorStatistics& errors);

/// Which profile is meant; what is empty is free.
struct ProfileQuery {
  std::string processor, precision, runtime;
  int threads = 0;
};

/// Reads "gpu/fp16/TensorRT/4": processor, precision, runtime and threads, from the left as many as are
/// given.
/// @throws InputError at `place`.
ProfileQuery parse_profile_query(std::string_view text, const std::string& place);

/// Where a profile's constants come from.
enum class ProfileBasis {
  kMeasured,        ///< measured itself
  kDeviceMeasured,  ///< the device is measured with other runtimes, precisions or numbers of threads
  kClass,           ///< nothing is: efficiencies of its class
};

/// "measured/batch_1", "class/larger_batches": the key of the errors of such a profile.
std::string error_key(ProfileBasis basis, int batch);

/// A device, one of its processors, and how networks run there: everything the roofline needs.
struct DeviceProfile {
  std::string device, processor, precision;
  std::string runtime;  ///< empty: the middle of all runtimes
  int threads = 0;      ///< 0: as many as the runtime takes
  DeviceClass device_class = DeviceClass::kDesktopCpu;
  ProfileBasis basis = ProfileBasis::kClass;
  std::string
      measured_on;  ///< the device whose measurements stand for this one's; usually itself, empty for kClass
  bool runtime_known = false;  ///< the runtime is measured on the class at this precision
  int models = 0;              ///< measured with it
  double speed_flop_per_s = 0;
  Roofline roofline;
  std::optional<double> idle_w, busy_w;

  /// "gpu, fp16, TensorRT" and where that comes from.
  std::string title() const;
  std::string basis_text() const;
};

/// Device profiles fitted to measured latencies (platforms/calibration.json, written by `cdisim calibrate`).
///
///     time of a term = class * runtime * device * profile slowdown ^ exponent
///
/// Runtimes are families at a precision; ratios between terms belong to the class, a runtime or a device bend
/// them, and a profile has one number of its own.
class Calibration {
 public:
  /// @throws InputError naming file, JSON pointer and value.
  static Calibration load(const std::filesystem::path& path);
  static Calibration parse(const Json& json, const std::string& file);

  /// The profile of a device that answers the query: of those measured that fit, the one at the device's
  /// default precision, or else of its sort (floating point or integer); of several the one that uses at
  /// least half of the cores, was measured with high confidence, with most models, most often, and is the
  /// fastest, in this order. Where none fits, what class, runtime and device let expect.
  /// @throws InputError at `place` where the device has no such processor, precision or number of threads, or
  /// the runtime is measured on no device of its class.
  DeviceProfile find(const DeviceType& device, const ProfileQuery& query, const std::string& place) const;

  struct Profile {
    std::string device, processor, precision, runtime;
    int threads = 0;
    double slowdown = 1;
    int models = 0, measurements = 0;
    bool sure = false;                      ///< measured with high confidence
    std::optional<ErrorStatistics> errors;  ///< leave-one-out, all batches
  };
  const std::vector<Profile>& profiles() const { return profiles_; }
  /// Leave-one-out errors to expect of a profile at a batch; none where nothing was left to compare.
  std::optional<ErrorStatistics> expected_error(const DeviceProfile& profile, int batch) const;
  /// The file as it was read, with the errors of the cross-validation.
  const Json& json() const { return json_; }

 private:
  struct Class {
    CostFactors cost{};
    std::map<std::string, CostFactors> runtimes;  ///< by "family/precision"
    std::map<std::string, CostFactors> devices;   ///< by "device/processor"
    std::map<std::string, ErrorStatistics> errors;
  };
  std::string file_;
  Json json_;
  std::array<Class, kDeviceClasses> classes_;
  std::vector<Profile> profiles_;

  DeviceProfile assemble(const DeviceType& device, const Processor& processor, const Profile& profile,
                         const std::string& measured_on) const;
};

}  // namespace cdisim
