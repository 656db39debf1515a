// cache — keeps what later tokens will look back at: each row's keys and values go to its slot.
//   append    cache[slot[row], c] = x[row, start + c]
//   backward  absent: only generation looks back across steps
// x [rows, x_width]; slot [rows], no two alike; cache [slots, width], the rest of it stays.
struct Params {
  rows_extent: u32,
  x_width: u32,
  start: u32,
  width: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> slot: array<u32>;
@group(0) @binding(4) var<storage, read_write> cache: array<f32>;

@compute @workgroup_size(64)
fn append(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
          @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  let row = i / params.width;
  if (row >= extent(params.rows_extent)) {
    return;
  }
  let column = i % params.width;
  cache[slot[row] * params.width + column] = x[row * params.x_width + params.start + column];
}
