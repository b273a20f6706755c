#include "sim/plan.h"

#include "bindings/core/core.h"
#include "sim/external_policy.h"
#include "sim/policy.h"

namespace cdisim::python {

void add_plan(py::module_& module) {
  module.attr("kSourceEnd") = kSourceEnd;
  Class<WireFormat> wire(module, "WireFormat");
  (*wire).def(py::init([](std::optional<double> input_bytes, std::optional<double> bytes_per_element,
                          std::optional<double> result_bytes, std::map<LayerId, HostId> sensors) {
                return WireFormat{input_bytes, bytes_per_element, result_bytes, std::move(sensors)};
              }),
              py::kw_only(), py::arg("input_bytes") = py::none(), py::arg("bytes_per_element") = py::none(),
              py::arg("result_bytes") = py::none(), py::arg("sensors") = std::map<LayerId, HostId>());
  wire.field("input_bytes", &WireFormat::input_bytes)
      .field("bytes_per_element", &WireFormat::bytes_per_element)
      .field("result_bytes", &WireFormat::result_bytes)
      .field("sensors", &WireFormat::sensors);

  Class<Transform> transform(module, "Transform");
  (*transform)
      .def(py::init([](double ratio, double encode_flop, double decode_flop) {
             return Transform{ratio, encode_flop, decode_flop};
           }),
           py::arg("ratio") = 1, py::arg("encode_flop") = 0, py::arg("decode_flop") = 0);
  transform.field("ratio", &Transform::ratio)
      .field("encode_flop", &Transform::encode_flop)
      .field("decode_flop", &Transform::decode_flop);

  Class<Piece> piece(module, "Piece");
  (*piece).def(py::init([](std::vector<LayerId> layers, HostId host, Parts parts, std::optional<double> share,
                           std::vector<LayerId> relays) {
                 return Piece{std::move(layers), host, std::move(parts), share, std::move(relays)};
               }),
               py::arg("layers"), py::arg("host"), py::arg("parts") = Parts(), py::arg("share") = py::none(),
               py::arg("relays") = std::vector<LayerId>());
  piece.field("layers", &Piece::layers)
      .field("host", &Piece::host)
      .field("parts", &Piece::parts)
      .field("share", &Piece::share)
      .field("relays", &Piece::relays);

  Class<Stealing> stealing(module, "Stealing");
  (*stealing).def(py::init([](std::vector<int> pieces, std::vector<HostId> workers, double poll_s,
                              std::optional<HostId> store, std::map<int, Parts> alone) {
                    return Stealing{std::move(pieces), std::move(workers), poll_s, store, std::move(alone)};
                  }),
                  py::arg("pieces"), py::arg("workers"), py::arg("poll_s") = 0, py::arg("store") = py::none(),
                  py::arg("alone") = std::map<int, Parts>());
  stealing.field("pieces", &Stealing::pieces)
      .field("workers", &Stealing::workers)
      .field("poll_s", &Stealing::poll_s)
      .field("store", &Stealing::store)
      .field("alone", &Stealing::alone);

  Class<Upload> upload(module, "Upload");
  (*upload).def(py::init([](std::vector<LayerId> layers, HostId host) {
                  return Upload{std::move(layers), host};
                }),
                py::arg("layers"), py::arg("host"));
  upload.field("layers", &Upload::layers).field("host", &Upload::host);

  Class<EdgeTransform> edge_transform(module, "EdgeTransform");
  (*edge_transform)
      .def(py::init([](int from, int to, const Transform& what) {
             return EdgeTransform{from, to, what};
           }),
           py::arg("from_piece"), py::arg("to"), py::arg("transform"));
  edge_transform.field("from_piece", &EdgeTransform::from)
      .field("to", &EdgeTransform::to)
      .field("transform", &EdgeTransform::transform);

  Class<Plan> plan(module, "Plan");
  (*plan)
      .def(py::init([](std::vector<Piece> pieces, int exit, std::vector<double> exit_rates,
                       std::vector<double> exit_accuracies, std::vector<EdgeTransform> transforms,
                       std::optional<Stealing> steal, std::vector<Upload> uploads,
                       std::map<std::string, double> decision, std::vector<Plan> fallbacks) {
             return Plan{std::move(pieces),     exit,
                         std::move(exit_rates), std::move(exit_accuracies),
                         std::move(transforms), std::move(steal),
                         std::move(uploads),    std::move(decision),
                         std::move(fallbacks)};
           }),
           py::arg("pieces"), py::kw_only(), py::arg("exit") = 0,
           py::arg("exit_rates") = std::vector<double>(), py::arg("exit_accuracies") = std::vector<double>(),
           py::arg("transforms") = std::vector<EdgeTransform>(), py::arg("stealing") = py::none(),
           py::arg("uploads") = std::vector<Upload>(), py::arg("decision") = std::map<std::string, double>(),
           py::arg("fallbacks") = std::vector<Plan>())
      .def("__eq__", [](const Plan& a, const Plan& b) { return a == b; })
      .def("__repr__", [](const Plan& self) { return "<cdisim.Plan " + plan_to_json(self).dump() + ">"; });
  (*plan).attr("__hash__") = py::none();
  plan.variable("pieces", &Plan::pieces)
      .variable("exit", &Plan::exit)
      .variable("exit_rates", &Plan::exit_rates)
      .variable("exit_accuracies", &Plan::exit_accuracies)
      .variable("transforms", &Plan::transforms)
      .variable("stealing", &Plan::stealing)
      .variable("uploads", &Plan::uploads)
      .variable("decision", &Plan::decision)
      .variable("fallbacks", &Plan::fallbacks);

  Class<PlanEdge>(module, "PlanEdge")
      .field("from_piece", &PlanEdge::from)
      .field("to", &PlanEdge::to)
      .field("bytes", &PlanEdge::bytes)
      .field("transform", &PlanEdge::transform)
      .field("after", &PlanEdge::after);

  module.def(
      "chain_plan",
      [](const LayerGraph& graph, int exit, int k, HostId first, HostId second) {
        checked(exit, static_cast<int>(graph.exits().size()));
        checked(k, static_cast<int>(graph.exit_layers(exit).size()) + 1);
        return chain_plan(graph, exit, k, first, second);
      },
      doc("chain_plan"), py::arg("graph"), py::arg("exit"), py::arg("k"), py::arg("first"),
      py::arg("second"));
  module.def(
      "tensor_bytes",
      [](const LayerGraph& graph, const WireFormat& format, LayerId layer) {
        return tensor_bytes(graph, format, at(graph, layer));
      },
      doc("tensor_bytes"), py::arg("graph"), py::arg("wire"), py::arg("layer"));
  // The others trust that the plan can run.
  module.def("check_plan", &check_plan, doc("check_plan"), py::arg("graph"), py::arg("platform"),
             py::arg("source"), py::arg("wire"), py::arg("plan"), py::arg("who"));
  module.def("plan_edges", &plan_edges, doc("plan_edges"), py::arg("graph"), py::arg("wire"),
             py::arg("plan"));
  module.def("plan_memory_bytes", &plan_memory_bytes, doc("plan_memory_bytes"), py::arg("graph"),
             py::arg("plan"));
}

}  // namespace cdisim::python
