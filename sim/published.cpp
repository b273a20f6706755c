#include "sim/published.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "sim/error.h"

namespace cdisim {

namespace {

const std::vector<std::string> kCompareNames{"relative", "equal", "range", "at_least", "order"};
const std::map<std::string, double> kUnits{
    {"", 1},     {"s", 1},    {"ms", 1e-3},     {"us", 1e-6}, {"J", 1},    {"mJ", 1e-3}, {"B", 1},
    {"kB", 1e3}, {"MB", 1e6}, {"MiB", 1048576}, {"1/s", 1},   {"%", 1e-2}, {"USD", 1}};

// Refuses what is no JSON pointer; the empty one names everything and nothing.
void check_pointer(const std::string& pointer, const JsonReader& at) {
  try {
    if (!pointer.empty() && pointer.front() == '/') {
      Json::json_pointer{pointer};
      return;
    }
  } catch (const Json::exception&) {  // "~" is no escape
  }
  at.fail("must be a JSON pointer such as \"/metrics/latency_s/mean\" or \"/deadline\"");
}

Json read_point(const JsonReader& reader) {
  for (const auto& [path, value] : reader.members()) check_pointer(path, reader);
  return reader.json();
}

std::string read_pointer(const JsonReader& reader) {
  check_pointer(reader.string(), reader);
  return reader.string();
}

Selector read_selector(const JsonReader& reader) {
  Selector out;
  out.policy = reader.at("policy").string();
  out.metric = read_pointer(reader.at("metric"));
  out.point = Json::object();
  if (const auto point = reader.find("point")) out.point = read_point(*point);
  return out;
}

void check_value(const PublishedFigure& figure, const JsonReader& reader) {
  if (!figure.unchecked.empty()) return;
  if (figure.compare == PublishedFigure::Compare::kRange) {
    if (reader.elements().size() != 2) reader.fail("a range is [low, high]");
    for (const JsonReader& end : reader.elements()) end.number(-1e300, 1e300);
  } else if (figure.compare == PublishedFigure::Compare::kOrder) {
    reader.string();
  } else {
    const double value = reader.number(-1e300, 1e300);
    if (value == 0 && figure.compare == PublishedFigure::Compare::kRelative) {
      reader.fail("has no relative error: compare as \"equal\" or \"range\"");
    }
  }
}

Json number_at(const Json& run, const std::string& pointer) {
  const Json::json_pointer at(pointer);
  if (!run.contains(at)) return nullptr;
  const Json& value = run[at];
  return value.is_number() ? value : Json(nullptr);
}

}  // namespace

std::vector<PublishedFigure> read_published(const JsonReader& reader) {
  std::vector<PublishedFigure> out;
  for (const JsonReader& entry : reader.elements()) {
    PublishedFigure figure;
    figure.id = entry.at("id").string();
    figure.source = entry.at("source").text();
    if (const auto unit = entry.find("unit")) {
      figure.unit = unit->string();
      std::vector<std::string> names;
      for (const auto& [name, si] : kUnits) names.push_back(name);
      if (!kUnits.contains(figure.unit))
        throw InputError(unit->place(),
                         fmt::format("\"{}\" is no unit{}", figure.unit, valid_choices(figure.unit, names)));
      figure.unit_si = kUnits.at(figure.unit);
    }
    if (const auto reason = entry.find("unchecked")) {
      figure.unchecked = reason->text();
    }
    if (const auto compare = entry.find("compare")) {
      figure.compare = static_cast<PublishedFigure::Compare>(compare->choice(kCompareNames));
    }
    if (!figure.unchecked.empty()) {
      if (const auto metric = entry.find("metric")) figure.select.metric = read_pointer(*metric);
    } else {
      figure.select = read_selector(entry);
      if (figure.compare == PublishedFigure::Compare::kOrder) {
        const JsonReader than = entry.at("than");
        figure.than = read_selector(than);
        than.done();
      } else if (figure.compare != PublishedFigure::Compare::kEqual) {
        figure.tolerance = entry.at("tolerance").number(0, 10);
      }
      if (const auto divided_by = entry.find("divided_by")) {
        if (!figure.unit.empty()) divided_by->fail("makes a ratio, which has no unit");
        figure.divided_by = read_selector(*divided_by);
        divided_by->done();
      }
    }

    if (const auto values = entry.find("values")) {
      const std::string over = read_pointer(entry.at("over"));
      std::map<std::string, std::string> reasons;
      if (const auto deviates = entry.find("deviates")) {
        for (const auto& [key, reason] : deviates->members()) {
          if (!values->has(key)) reason.fail("names no value of this curve");
          reasons[key] = reason.string();
        }
      }
      auto points = values->members();
      // "50kbps" comes before "1000kbps".
      std::stable_sort(points.begin(), points.end(), [](const auto& a, const auto& b) {
        return std::strtod(a.first.c_str(), nullptr) < std::strtod(b.first.c_str(), nullptr);
      });
      for (const auto& [key, value] : points) {
        PublishedFigure point = figure;
        point.id = fmt::format("{}@{}", figure.id, key);
        point.select.point[over] = key;
        if (figure.compare == PublishedFigure::Compare::kOrder) point.than.point[over] = key;
        if (!figure.divided_by.policy.empty() && !figure.divided_by.point.contains(over))
          point.divided_by.point[over] = key;
        check_value(point, value);
        point.published = value.json();
        if (reasons.contains(key)) point.deviates = reasons[key];
        out.push_back(std::move(point));
      }
    } else {
      const JsonReader value = entry.at("value");
      check_value(figure, value);
      figure.published = value.json();
      if (const auto deviates = entry.find("deviates")) figure.deviates = deviates->string();
      out.push_back(std::move(figure));
    }
    entry.done();
  }
  std::map<std::string, int> ids;
  for (const PublishedFigure& figure : out) {
    if (++ids[figure.id] > 1)
      throw InputError(reader.place(), fmt::format("two figures have the id \"{}\"", figure.id));
  }
  return out;
}

namespace {

// Curves name their points by strings; a sweep's values may be numbers.
bool same_value(const Json& asked, const Json& value) {
  return asked == value || (asked.is_string() && asked.get_ref<const std::string&>() == value.dump());
}

}  // namespace

std::vector<std::size_t> matching_runs(const Selector& selector, const Json& runs) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Json& run = runs[i];
    bool matches = run["policy"] == selector.policy;
    for (const auto& [path, value] : selector.point.items()) {
      matches = matches && run["point"].contains(path) && same_value(value, run["point"][path]);
    }
    if (matches) out.push_back(i);
  }
  return out;
}

Json compare_published(const std::vector<PublishedFigure>& figures, const Json& runs,
                       const std::string& system, const std::string& experiment) {
  Json out = Json::array();
  for (const PublishedFigure& f : figures) {
    const auto simulated_of = [&](const Selector& selector) -> Json {
      const std::vector<std::size_t> found = matching_runs(selector, runs);
      if (found.size() != 1) return nullptr;
      const Json value = number_at(runs[found.front()], selector.metric);
      return value.is_null() ? value : Json(value.get<double>() / f.unit_si);
    };
    Json simulated, relative_error, than;
    bool holds = false;
    if (f.unchecked.empty()) simulated = simulated_of(f.select);
    if (simulated.is_number() && !f.divided_by.policy.empty()) {
      const Json divisor = simulated_of(f.divided_by);
      const bool possible = divisor.is_number() && divisor.get<double>() != 0;
      simulated = possible ? Json(simulated.get<double>() / divisor.get<double>()) : Json(nullptr);
    }
    if (simulated.is_number()) {
      const double x = simulated.get<double>();
      switch (f.compare) {
        case PublishedFigure::Compare::kRelative: {
          const double p = f.published.get<double>();
          relative_error = (x - p) / std::abs(p);
          holds = std::abs(x - p) <= f.tolerance * std::abs(p);
          break;
        }
        case PublishedFigure::Compare::kEqual:
          holds = x == f.published.get<double>();
          break;
        case PublishedFigure::Compare::kRange: {
          const double low = f.published[0].get<double>(), high = f.published[1].get<double>();
          holds = x >= low - f.tolerance * std::abs(low) && x <= high + f.tolerance * std::abs(high);
          break;
        }
        case PublishedFigure::Compare::kAtLeast:
          holds = x >= f.published.get<double>() - f.tolerance * std::abs(f.published.get<double>());
          break;
        case PublishedFigure::Compare::kOrder:
          than = simulated_of(f.than);
          holds = than.is_number() && x < than.get<double>();
          break;
      }
    }
    const std::string status = !f.unchecked.empty() ? "unchecked" : holds ? "reproduced" : "deviates";
    const std::string expected = !f.unchecked.empty() ? "unchecked"
                                 : f.deviates.empty() ? "reproduced"
                                                      : "deviates";
    std::string reason = !f.unchecked.empty() ? f.unchecked : f.deviates;
    if (f.unchecked.empty() && simulated.is_null()) reason = "the simulation gave no value";
    Json figure = {{"system", system},
                   {"experiment", experiment},
                   {"id", f.id},
                   {"metric", f.select.metric},
                   {"compare", kCompareNames[static_cast<std::size_t>(f.compare)]},
                   {"published", f.published},
                   {"simulated", simulated},
                   {"unit", f.unit},
                   {"relative_error", relative_error},
                   {"tolerance", f.tolerance},
                   {"status", status},
                   {"expected", expected},
                   {"reason", reason},
                   {"source", f.source}};
    if (f.compare == PublishedFigure::Compare::kOrder) figure["than"] = than;
    out.push_back(std::move(figure));
  }
  return out;
}

}  // namespace cdisim
