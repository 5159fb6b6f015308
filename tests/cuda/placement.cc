// What a session of TensorFlow's CUDA build would do with a graph on a machine with one card, asked on a machine without: the
// build's own placer, optimiser and partitioner, given a device that says that it is a GPU and runs nothing.
//   placement place GRAPH FEED[,FEED...] FETCH[,FETCH...]   nodes of the partitions: op, device, memory of inputs and outputs
//   placement registrations OP[,OP...]                      kernels for a card, arguments and default types of these ops
// GRAPH: a file with a serialised GraphDef. Both print JSON. With TF_XLA_FLAGS=--tf_xla_auto_jit=2 nodes also name their cluster.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "tensorflow/compiler/jit/mark_for_compilation_pass.h"
#include "tensorflow/core/common_runtime/device_set.h"
#include "tensorflow/core/common_runtime/graph_constructor.h"
#include "tensorflow/core/common_runtime/memory_types.h"
#include "tensorflow/core/common_runtime/placer.h"
#include "tensorflow/core/framework/device.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/graph/graph_partition.h"
#include "tensorflow/core/graph/subgraph.h"
#include "tensorflow/core/grappler/clusters/virtual_cluster.h"
#include "tensorflow/core/grappler/grappler_item.h"
#include "tensorflow/core/grappler/optimizers/meta_optimizer.h"
#include "tensorflow/core/public/session_options.h"

using namespace tensorflow;
using Strings = std::vector<std::string>;

namespace {

void Check(const absl::Status& status, const char* what) {
  if (status.ok()) return;
  fprintf(stderr, "%s: %s\n", what, status.ToString().c_str());
  exit(1);
}

Strings Split(const std::string& text) {
  Strings parts;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, ',');) if (!part.empty()) parts.push_back(part);
  return parts;
}

std::string Quoted(const std::string& text) { return "\"" + text + "\""; }

std::string List(const Strings& items) {
  std::string joined;
  for (const auto& item : items) joined += (joined.empty() ? "" : ", ") + item;
  return "[" + joined + "]";
}

class ClaimedDevice : public Device {
 public:
  explicit ClaimedDevice(const DeviceAttributes& attributes) : Device(nullptr, attributes) {}
  absl::Status Sync() override { return absl::UnimplementedError("claimed"); }
  Allocator* GetAllocator(AllocatorAttributes) override { return nullptr; }

  static std::unique_ptr<Device> Make(const std::string& type) {
    DeviceAttributes attributes;
    attributes.set_name("/job:localhost/replica:0/task:0/device:" + type + ":0");
    attributes.set_device_type(type);
    attributes.set_incarnation(type == "GPU" ? 7 : 5);
    attributes.set_memory_limit(80ll << 30);
    if (type == "GPU") {
      attributes.set_physical_device_desc(
          "device: 0, name: claimed, pci bus id: 0000:00:00.0, compute capability: 9.0");
    }
    return std::make_unique<ClaimedDevice>(attributes);
  }
};

// A session's way from a graph to what each device runs.
class Session {
 public:
  Session() : cpu_(ClaimedDevice::Make("CPU")), gpu_(ClaimedDevice::Make("GPU")) {
    devices_.AddDevice(cpu_.get());
    devices_.AddDevice(gpu_.get());
    devices_.set_client_device(cpu_.get());
  }

  Strings Nodes(const GraphDef& def, const Strings& feeds, const Strings& fetches) {
    auto graph = Place(Optimised(*Place(def), feeds, fetches));
    subgraph::RewriteGraphMetadata metadata;
    Check(subgraph::RewriteGraphForExecution(graph.get(), feeds, fetches, {}, cpu_->attributes(), true, &metadata), "feeds");
    MarkClusters(&graph);
    Strings nodes;
    for (auto& [name, part] : Partitions(graph.get())) AddNodes(name, part, &nodes);
    return nodes;
  }

 private:
  std::unique_ptr<Graph> Place(const GraphDef& def) {
    GraphConstructorOptions options;
    options.allow_internal_ops = true;
    auto graph = std::make_unique<Graph>(OpRegistry::Global());
    Check(ConvertGraphDefToGraph(options, def, graph.get()), "graph");
    Placer placer(graph.get(), "", &graph->flib_def(), &devices_, nullptr, /*allow_soft_placement=*/false, false);
    Check(placer.Run(), "placer");
    return graph;
  }

  GraphDef Optimised(const Graph& graph, const Strings& feeds, const Strings& fetches) {
    grappler::GrapplerItem item;
    item.id = "audit";
    graph.ToGraphDef(&item.graph);
    for (const auto& feed : feeds) item.feed.emplace_back(feed.substr(0, feed.find(':')), Tensor());
    item.fetch = fetches;
    ConfigProto config;
    config.mutable_graph_options()->mutable_rewrite_options()->set_meta_optimizer_iterations(RewriterConfig::ONE);
    DeviceProperties card, host;  // a card of the Hopper generation; the passes look at little of it
    card.set_type("GPU");
    card.set_vendor("NVIDIA");
    card.set_frequency(1700);
    card.set_num_cores(132);
    card.set_memory_size(80ll << 30);
    (*card.mutable_environment())["architecture"] = "9.0";
    host.set_type("CPU");
    host.set_num_cores(16);
    host.set_frequency(2500);
    host.set_memory_size(64ll << 30);
    grappler::VirtualCluster cluster(
        std::unordered_map<std::string, DeviceProperties>{{cpu_->name(), host}, {gpu_->name(), card}});
    Check(cluster.Provision(), "cluster");
    GraphDef optimised;
    Check(grappler::RunMetaOptimizer(std::move(item), config, nullptr, &cluster, &optimised), "optimiser");
    return optimised;
  }

  // What XLA would compile together, if its flags say that it should compile anything.
  void MarkClusters(std::unique_ptr<Graph>* graph) {
    SessionOptions options;
    GraphOptimizationPassOptions pass_options;
    FunctionLibraryDefinition functions((*graph)->flib_def());
    pass_options.session_options = &options;
    pass_options.device_set = &devices_;
    pass_options.flib_def = &functions;
    pass_options.graph = graph;
    Check(MarkForCompilationPass().Run(pass_options), "clusters");
  }

  std::unordered_map<std::string, GraphDef> Partitions(Graph* graph) {
    PartitionOptions options;
    int count = 0;
    options.node_to_loc = [](const Node* node) { return node->assigned_device_name(); };
    options.new_name = [&](const std::string& prefix) { return prefix + "/_" + std::to_string(count++); };
    options.get_incarnation = [&](const std::string& name) { return name == cpu_->name() ? 5 : 7; };
    options.control_flow_added = false;
    std::unordered_map<std::string, GraphDef> parts;
    Check(Partition(options, graph, &parts), "partition");
    return parts;
  }

  void AddNodes(const std::string& device_name, const GraphDef& part, Strings* nodes) {
    const DeviceType type(devices_.FindDeviceByName(device_name)->device_type());
    GraphConstructorOptions options;
    options.allow_internal_ops = true;
    options.expect_device_spec = true;
    Graph graph(OpRegistry::Global());
    Check(ConvertGraphDefToGraph(options, part, &graph), "part");
    Check(EnsureMemoryTypes(type, device_name, &graph), "memory types");
    for (const Node* node : graph.op_nodes()) {
      MemoryTypeVector in, out;
      Check(MemoryTypesForNode(graph.op_registry(), type, node->def(), &in, &out), "types");
      auto ports = [](const DataTypeVector& types, const MemoryTypeVector& memory) {
        Strings list;
        for (size_t i = 0; i < types.size(); i++) {
          list.push_back(Quoted(DataTypeString(types[i]) + (memory[i] == HOST_MEMORY ? "@host" : "")));
        }
        return List(list);
      };
      auto text = [&](const char* name) {
        const AttrValue* value = node->attrs().Find(name);
        return Quoted(value ? value->s() : "");
      };
      Strings inputs;
      for (const auto& input : node->def().input()) inputs.push_back(Quoted(input));
      nodes->push_back("{\"name\": " + Quoted(node->name()) + ", \"op\": " + Quoted(node->type_string()) +
                       ", \"device\": " + Quoted(type.type_string()) + ", \"in\": " + ports(node->input_types(), in) +
                       ", \"out\": " + ports(node->output_types(), out) + ", \"inputs\": " + List(inputs) +
                       ", \"tensor\": " + text("tensor_name") + ", \"cluster\": " + text("_XlaCluster") + "}");
    }
  }

  std::unique_ptr<Device> cpu_, gpu_;
  DeviceSet devices_;
};

// Types that a graph of ours has: of the others there are kernels by the hundred.
bool IsOurs(int type) {
  return type == DT_FLOAT || type == DT_INT32 || type == DT_BOOL || type == DT_BFLOAT16 || type == DT_HALF || type == DT_RESOURCE;
}

bool HasOurs(const KernelDef& kernel) {
  for (const auto& constraint : kernel.constraint()) {
    bool ours = false;
    for (int type : constraint.allowed_values().list().type()) ours = ours || IsOurs(type);
    if (!ours) return false;
  }
  return true;
}

// The numbers of the types that an attribute may have.
std::string Constraints(const KernelDef& kernel) {
  Strings list;
  for (const auto& constraint : kernel.constraint()) {
    Strings types;
    for (int type : constraint.allowed_values().list().type()) types.push_back(std::to_string(type));
    list.push_back(Quoted(constraint.name()) + ": " + List(types));
  }
  const std::string joined = List(list);
  return "{" + joined.substr(1, joined.size() - 2) + "}";
}

std::string Arguments(const google::protobuf::RepeatedPtrField<OpDef::ArgDef>& arguments) {
  Strings list;
  for (const auto& argument : arguments) {
    list.push_back("{\"name\": " + Quoted(argument.name()) + ", \"type\": " + std::to_string(argument.type()) +
                   ", \"attr\": " + Quoted(argument.type_attr()) + ", \"count\": " + Quoted(argument.number_attr()) + "}");
  }
  return List(list);
}

std::string Registrations(const std::string& op) {
  const OpDef* def = nullptr;
  Check(OpRegistry::Global()->LookUpOpDef(op, &def), op.c_str());
  const KernelList registered = GetRegisteredKernelsForOp(op);
  Strings kernels, defaults;
  for (const auto& kernel : registered.kernel()) {
    if ((kernel.device_type() != "GPU" && kernel.device_type() != "DEFAULT") || !kernel.label().empty() || !HasOurs(kernel)) continue;
    Strings host;
    for (const auto& argument : kernel.host_memory_arg()) host.push_back(Quoted(argument));
    kernels.push_back("{\"types\": " + Constraints(kernel) + ", \"host\": " + List(host) + "}");
  }
  for (const auto& attr : def->attr()) {
    if (attr.has_default_value() && attr.type() == "type") {
      defaults.push_back(Quoted(attr.name()) + ": " + std::to_string(attr.default_value().type()));
    }
  }
  const std::string joined = List(defaults);
  return Quoted(op) + ": {\"inputs\": " + Arguments(def->input_arg()) + ", \"outputs\": " + Arguments(def->output_arg()) +
         ", \"defaults\": {" + joined.substr(1, joined.size() - 2) + "}, \"kernels\": " + List(kernels) + "}";
}

void Print(const Strings& items, const char* open, const char* close) {
  printf("%s\n", open);
  for (size_t i = 0; i < items.size(); i++) printf("%s%s\n", items[i].c_str(), i + 1 < items.size() ? "," : "");
  printf("%s\n", close);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "registrations" && argc == 3) {
    Strings ops;
    for (const auto& op : Split(argv[2])) ops.push_back(Registrations(op));
    Print(ops, "{", "}");
    return 0;
  }
  if (command == "place" && argc == 5) {
    GraphDef def;
    std::ifstream file(argv[2], std::ios::binary);
    if (!def.ParseFromIstream(&file)) {
      fprintf(stderr, "%s: is no GraphDef\n", argv[2]);
      return 1;
    }
    Print(Session().Nodes(def, Split(argv[3]), Split(argv[4])), "[", "]");
    return 0;
  }
  fprintf(stderr, "placement place GRAPH FEEDS FETCHES | placement registrations OPS\n");
  return 2;
}
