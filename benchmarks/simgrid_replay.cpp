// Replays a schedule on SimGrid: a graph of host-to-host communications without latency, and no actors.
//
// Standard input, numbers only: hosts, links, transfers, waits; bytes/s of each link; for each transfer its source,
// target, bytes and links (their number first); for each wait the transfer waited for and the one that waits.
// Standard output: seconds until the last transfer has ended, CPU seconds of the simulation alone, version.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <simgrid/s4u.hpp>
#include <simgrid/version.h>

namespace sg4 = simgrid::s4u;

static long long whole()
{
  long long value = 0;
  if (std::scanf("%lld", &value) != 1)
    std::exit(2);
  return value;
}

static double real()
{
  double value = 0;
  if (std::scanf("%lf", &value) != 1)
    std::exit(2);
  return value;
}

static double cpu()
{
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

int main(int argc, char** argv)
{
  sg4::Engine engine(&argc, argv);
  // Plain max-min sharing: no losses to protocols, no traffic of acknowledgements, no windows.
  for (const char* setting : {"network/model:CM02", "network/crosstraffic:no", "network/TCP-gamma:0",
                              "surf/precision:1e-9", "maxmin/precision:1e-9"})
    sg4::Engine::set_config(setting);
  const long long hosts = whole(), links = whole(), transfers = whole(), waits = whole();
  auto* zone = sg4::create_full_zone("fabric");
  std::vector<sg4::Host*> host;
  std::vector<sg4::Link*> link;
  for (long long i = 0; i < hosts; i++)
    host.push_back(zone->create_host("h" + std::to_string(i), 1.0));
  for (long long i = 0; i < links; i++)
    link.push_back(zone->create_link("l" + std::to_string(i), real())->set_latency(0.0)->seal());
  std::vector<sg4::CommPtr> comm;
  std::set<std::pair<long long, long long>> known;
  for (long long i = 0; i < transfers; i++) {
    const long long source = whole(), target = whole(), bytes = whole(), length = whole();
    std::vector<sg4::LinkInRoute> route;
    for (long long k = 0; k < length; k++)
      route.emplace_back(link[whole()]);
    if (known.insert({source, target}).second)
      zone->add_route(host[source]->get_netpoint(), host[target]->get_netpoint(), nullptr, nullptr, route, false);
    comm.push_back(sg4::Comm::sendto_init(host[source], host[target])->set_payload_size(bytes));
  }
  zone->seal();
  for (long long i = 0; i < waits; i++) {
    const long long before = whole(), after = whole();
    comm[before]->add_successor(comm[after]);
  }
  const double began = cpu();
  for (auto& each : comm)
    each->vetoable_start();
  engine.run();
  std::printf("%.12g %.6f %d.%d\n", sg4::Engine::get_clock(), cpu() - began, SIMGRID_VERSION_MAJOR, SIMGRID_VERSION_MINOR);
  return 0;
}
