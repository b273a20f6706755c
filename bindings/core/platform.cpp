#include "sim/platform.h"

#include "bindings/core/core.h"
#include "sim/bandwidth_trace.h"
#include "sim/latency_model.h"
#include "sim/resources.h"

namespace cdisim::python {

namespace {

const char* discipline_name(Discipline discipline) {
  constexpr const char* kNames[] = {"fifo", "batch", "shared"};
  return kNames[static_cast<std::size_t>(discipline)];
}

const char* sharing_name(Sharing sharing) {
  constexpr const char* kNames[] = {"shared", "fatpipe", "wifi"};
  return kNames[static_cast<std::size_t>(sharing)];
}

HostId host_of(const Platform& platform, HostId host) {
  return static_cast<HostId>(checked(host, platform.host_count()));
}

}  // namespace

void add_platform(py::module_& module) {
  Class<PowerState>(module, "PowerState")
      .field("speed_flop_per_s", &PowerState::speed_flop_per_s)
      .field("idle_w", &PowerState::idle_w)
      .field("epsilon_w", &PowerState::epsilon_w)
      .field("all_cores_w", &PowerState::all_cores_w);
  Class<Radio>(module, "Radio")
      .field("idle_w", &Radio::idle_w)
      .field("tx_w", &Radio::tx_w)
      .field("rx_w", &Radio::rx_w)
      .field("tx_j_per_byte", &Radio::tx_j_per_byte)
      .field("rx_j_per_byte", &Radio::rx_j_per_byte);
  Class<Host> host(module, "Host");
  host.field("name", &Host::name)
      .property("tier", [](const Host& self) { return std::string(tier_name(self.tier)); })
      .field("device_type", &Host::device_type)
      .field("profile", &Host::profile)
      .field("cores", &Host::cores)
      .property("discipline", [](const Host& self) { return discipline_name(self.discipline); })
      .field("max_batch", &Host::max_batch)
      .field("max_wait_s", &Host::max_wait_s)
      .field("memory_bytes", &Host::memory_bytes)
      .field("power_states", &Host::power_states)
      .field("power_state", &Host::power_state)
      .field("off_w", &Host::off_w)
      .field("radio", &Host::radio)
      .field("has_radio", &Host::has_radio)
      .field("wifi_rate", &Host::wifi_rate)
      .field("flight_w", &Host::flight_w)
      .field("battery_j", &Host::battery_j)
      .field("price_usd_per_s", &Host::price_usd_per_s);
  (*host).def("__repr__", [](const Host& self) { return "<cdisim.Host " + self.name + ">"; });
  Class<Link> link(module, "Link");
  link.field("name", &Link::name)
      .field("bandwidth_bytes_per_s", &Link::bandwidth_bytes_per_s)
      .field("latency_s", &Link::latency_s)
      .property("sharing", [](const Link& self) { return sharing_name(self.sharing); })
      .field("rates_bytes_per_s", &Link::rates_bytes_per_s)
      .field("price_usd_per_byte", &Link::price_usd_per_byte);
  (*link).def("__repr__", [](const Link& self) { return "<cdisim.Link " + self.name + ">"; });
  Class<Route>(module, "Route")
      .field("links", &Route::links)
      .field("weights", &Route::weights)
      .field("latency_s", &Route::latency_s)
      .field("relays", &Route::relays);

  Class<Platform, std::shared_ptr<Platform>> platform(module, "Platform");
  (*platform)
      .def_static("load", &Platform::load, platform.comment("load"), py::arg("path"))
      .def_static("parse", &Platform::parse, platform.comment("load"), py::arg("xml"),
                  py::arg("file") = "platform.xml")
      .def("__repr__", [](const Platform& self) {
        return "<cdisim.Platform " + self.name() + ": " + std::to_string(self.host_count()) + " hosts>";
      });
  platform.function("name", &Platform::name)
      .function("file", &Platform::file)
      .function("hosts",
                [](const py::object& self) { return references(self.cast<const Platform&>().hosts(), self); })
      .function("links",
                [](const py::object& self) { return references(self.cast<const Platform&>().links(), self); })
      .function(
          "host", [](const Platform& self, HostId id) -> const Host& { return self.host(host_of(self, id)); },
          py::arg("id"), py::return_value_policy::reference_internal)
      .function(
          "link",
          [](const Platform& self, LinkId id) -> const Link& {
            return self.link(static_cast<LinkId>(checked(id, self.link_count())));
          },
          py::arg("id"), py::return_value_policy::reference_internal)
      .function("host_count", &Platform::host_count)
      .function("link_count", &Platform::link_count)
      .function("find_host", &Platform::find_host, py::arg("name"))
      .function("find_links", &Platform::find_links, py::arg("name"))
      .function("host_names", &Platform::host_names)
      .function("link_names", &Platform::link_names)
      .function(
          "route",
          [](const Platform& self, HostId from, HostId to) {
            return self.route(host_of(self, from), host_of(self, to));
          },
          py::arg("from_host"), py::arg("to"), py::return_value_policy::reference_internal)
      .function(
          "neighbours", [](const Platform& self, HostId id) { return self.neighbours(host_of(self, id)); },
          py::arg("host"))
      .function("bottleneck_bytes_per_s", &Platform::bottleneck_bytes_per_s, py::arg("route"))
      .function("price_usd_per_byte", &Platform::price_usd_per_byte, py::arg("route"));

  using Model = LatencyModel;
  Class<Model, std::shared_ptr<Model>> model(module, "LatencyModel");
  (*model)
      .def_static(
          "roofline",
          [](const std::optional<std::filesystem::path>& file) {
            return Model::roofline(
                file ? *file : find_resource(Resource::kHardware, "hardware", "", "LatencyModel.roofline"));
          },
          model.comment("roofline"), py::arg("hardware_file") = py::none())
      .def_static("load", &Model::load, model.comment("load"), py::arg("path"))
      .def_static(
          "parse",
          [](const py::object& json, const std::string& file) { return Model::parse(to_json(json), file); },
          "The model that a dict of the same form as a file holds.", py::arg("json"),
          py::arg("file") = "latency_model");
  model.function("name", &Model::name)
      .function(
          "layer_s",
          [](const Model& self, const LayerGraph& graph, LayerId layer, const Host& on, int batch) {
            return self.layer_s(graph, at(graph, layer), on, batch);
          },
          py::arg("graph"), py::arg("layer"), py::arg("host"), py::arg("batch") = 1)
      .function(
          "piece_s",
          [](const Model& self, const LayerGraph& graph, const std::vector<LayerId>& layers, const Host& on,
             int batch, const Parts& parts) {
            for (const LayerId layer : layers) at(graph, layer);
            return self.piece_s(graph, layers, on, batch, parts);
          },
          py::arg("graph"), py::arg("layers"), py::arg("host"), py::arg("batch") = 1,
          py::arg("parts") = Parts());

  using Trace = BandwidthTrace;
  Class<Trace> trace(module, "BandwidthTrace");
  trace.field("start_s", &Trace::start_s)
      .field("bandwidth_bytes_per_s", &Trace::bandwidth_bytes_per_s)
      .field("length_s", &Trace::length_s)
      .field("repeat", &Trace::repeat)
      .function("at", &Trace::at, py::arg("time_s"))
      .function("next_change", &Trace::next_change, py::arg("time_s"))
      .function("mean_bytes_per_s", &Trace::mean_bytes_per_s);
}

}  // namespace cdisim::python
