// checksum — a sum over a buffer's words that tells whether any of its bits has changed since it was last taken.
//   sum   sums[place] += Σ_i mix(words[i] + mix(i))      modulo 2³²
// mix is a bijection of 32 bits (Ettinger's lowbias32), so one word that changes always changes the sum; of other
// changes one in 2³² passes. The words' places count, so an exchange of two is seen.
// words [count] u32; sums [places] u32, zeroed by the host. Sums of integers come out the same in any order.
struct Params {
  count: u32,
  place: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> words: array<u32>;
@group(0) @binding(3) var<storage, read_write> sums: array<atomic<u32>>;

const LANES = 256u;

fn mix_bits(word: u32) -> u32 {
  var x = word;
  x = (x ^ (x >> 16u)) * 0x7feb352du;
  x = (x ^ (x >> 15u)) * 0x846ca68bu;
  return x ^ (x >> 16u);
}

@compute @workgroup_size(LANES)
fn sum(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
       @builtin(local_invocation_index) lane: u32) {
  var mine = 0u;
  // So few workgroups are launched that one dimension holds them.
  for (var i = group.x * LANES + lane; i < params.count; i += groups.x * LANES) {
    mine += mix_bits(words[i] + mix_bits(i));
  }
  atomicAdd(&sums[params.place], mine);
}
