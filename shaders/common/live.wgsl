// Joined in front of every kernel.
// A micro-batch's sizes change from one to the next while the plan stays: `live` holds, for each extent of the
// plan (tokens, trained rows, a chunk of them …), how many there are now. Params name an extent by its number.
@group(0) @binding(0) var<uniform> live: array<vec4u, 64>;

fn extent(index: u32) -> u32 {
  return live[index >> 2u][index & 3u];
}

// Workgroups are counted in one dimension; past 65 535 the host spreads them over two.
fn flat_workgroup(id: vec3u, count: vec3u) -> u32 {
  return id.x + id.y * count.x;
}
